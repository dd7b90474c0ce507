# MFNet, 9 classes, in the layout of its publishers (ir_seg_dataset).
_base_ = './seg.py'
data_root = 'data/mfnet'
dataset_type = 'mwam_mm.MFNetDataset'
# thermal: statistics in public use; tools/analysis_tools/check_dataset.py
# prints those of your copy.
modalities = dict(
    rgb=dict(_base_.imagenet_rgb, file_channels=[0, 1, 2]),
    thermal=dict(
        channels=1,
        mean=96.9,
        std=47.9,
        path_key='img_path',
        file_channels=[3]))
image_size = (640, 480)  # width, height
crop_size = (480, 640)  # height, width
train_pipeline = [
    dict(type='mwam_mm.LoadModalities', modalities=modalities),
    dict(type='LoadAnnotations'),
    dict(type='RandomResize', scale=image_size, ratio_range=(1.0, 1.4)),
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.75),
    *_base_.flip_and_pack,
    # Each sample keeps a random non-empty subset of its modalities ("-MD").
    dict(type='mwam_mm.RandomDropModality', modalities=modalities),
]
test_pipeline = [
    dict(type='mwam_mm.LoadModalities', modalities=modalities),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
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
        split='val',
        pipeline=test_pipeline))
test_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        split='test',
        pipeline=test_pipeline))
