# A dataset of your own with RGB, 16-bit infrared and 16-bit depth, as
# tools/dataset_converters/yolo.py writes it: annotations/{train,val}.json.
# The classes are those of the json.
_base_ = './det.py'
data_root = 'data/my_dataset'
dataset_type = 'mwam_mm.MultiModalCocoDataset'
# Infrared: the range of 16 bits, and 0 where the sensor saw nothing, as at the
# edges of a registered image. Depth: a guess, for files in mm (metres after
# scale). Replace all by what tools/analysis_tools/check_dataset.py prints.
modalities = dict(
    rgb=_base_.imagenet_rgb,
    depth=dict(channels=1, mean=3.0, std=2.0, scale=0.001, invalid_value=0),
    infrared=dict(channels=1, mean=32768, std=32768, invalid_value=0))
image_size = (640, 512)  # width, height; the ratio of the images is kept
train_pipeline = [
    dict(type='mwam_mm.LoadModalities', modalities=modalities),
    _base_.load_boxes,
    dict(type='Resize', scale=image_size, keep_ratio=True),
    *_base_.flip_and_pack,
    # Each sample keeps a random non-empty subset of its modalities ("-MD").
    dict(type='mwam_mm.RandomDropModality', modalities=modalities),
]
test_pipeline = [
    dict(type='mwam_mm.LoadModalities', modalities=modalities),
    dict(type='Resize', scale=image_size, keep_ratio=True),
    *_base_.load_boxes_and_pack,
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
