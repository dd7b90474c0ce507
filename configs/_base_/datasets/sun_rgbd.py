# SUN RGB-D, 37 classes, as tools/dataset_converters/sun_rgbd.py writes it.
_base_ = './seg.py'
data_root = 'data/sun_rgbd'
dataset_type = 'mwam_mm.SUNRGBDDataset'
# Depth, in metres: the statistics in the code of ESANet.
modalities = dict(
    rgb=_base_.imagenet_rgb,
    depth=dict(
        channels=1, mean=2.378, std=1.235, scale=0.001, invalid_value=0))
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
    dict(type='Resize', scale=image_size),
    # After Resize: the labels are compared at the images' own size.
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
