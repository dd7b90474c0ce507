# PST900, 5 classes, in the layout of its publishers.
_base_ = './seg.py'
data_root = 'data/pst900'
dataset_type = 'mwam_mm.PST900Dataset'
# thermal: only the range of the files, for want of published statistics.
# tools/analysis_tools/check_dataset.py prints those of your copy to put here.
modalities = dict(
    rgb=_base_.imagenet_rgb,
    thermal=dict(channels=1, mean=127.5, std=127.5, invalid_value=0))
image_size = (1280, 720)  # width, height
crop_size = (512, 640)  # height, width
train_pipeline = [
    dict(type='mwam_mm.LoadModalities', modalities=modalities),
    dict(type='LoadAnnotations'),
    dict(type='RandomResize', scale=image_size, ratio_range=(0.75, 1.25)),
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
        split='test',
        pipeline=test_pipeline))
test_dataloader = val_dataloader
