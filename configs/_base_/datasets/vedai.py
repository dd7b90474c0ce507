# VEDAI, 9 classes, in the layout of its publishers: fold 1 at 1024 pixels.
_base_ = './det.py'
data_root = 'data/vedai'
dataset_type = 'mwam_mm.VEDAIDataset'
# RGB: statistics of ImageNet, for weights from there. Near infrared: the range
# of the files; tools/analysis_tools/check_dataset.py prints those of yours.
modalities = dict(
    rgb=dict(
        channels=3,
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True),
    nir=dict(channels=1, mean=127.5, std=127.5, file_channels=[0]))
image_size = (1024, 1024)  # width, height; the ratio of the images is kept
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
        split='train',
        pipeline=train_pipeline))
val_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        split='test',
        pipeline=test_pipeline))
test_dataloader = val_dataloader
