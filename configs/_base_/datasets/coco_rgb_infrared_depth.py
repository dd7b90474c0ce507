# A dataset of your own with RGB, 16-bit infrared and 16-bit depth, as
# tools/dataset_converters/yolo.py writes it: annotations/{train,val}.json.
# The classes are those of the json.
_base_ = './det.py'
data_root = 'data/my_dataset'
dataset_type = 'mwam_mm.MultiModalCocoDataset'
# RGB: statistics of ImageNet. The others: the range of 16 bits, and a guess
# for depth in mm (metres after scale). Replace them by what
# tools/analysis_tools/check_dataset.py prints.
modalities = dict(
    rgb=dict(
        channels=3,
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True),
    infrared=dict(channels=1, mean=32768, std=32768),
    depth=dict(channels=1, mean=3.0, std=2.0, scale=0.001, invalid_value=0))
image_size = (640, 512)  # width, height; the ratio of the images is kept
# No photometric distortion: it clips colours to flat patches, and those are
# what the published FRM counts.
train_pipeline = [
    dict(type='mwam_mm.LoadModalities', modalities=modalities),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', scale=image_size, keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
    _base_.pack_train,
    # Each sample keeps a random non-empty subset of its modalities ("-MD").
    dict(type='mwam_mm.RandomDropModality', modalities=modalities),
]
test_pipeline = [
    dict(type='mwam_mm.LoadModalities', modalities=modalities),
    dict(type='Resize', scale=image_size, keep_ratio=True),
    _base_.pack_test,
]
train_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='annotations/train.json',
        pipeline=train_pipeline))
val_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='annotations/val.json',
        pipeline=test_pipeline))
test_dataloader = val_dataloader
