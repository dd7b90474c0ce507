# SUN RGB-D, boxes of 19 classes, as tools/dataset_converters/sun_rgbd.py
# --boxes writes it.
_base_ = './det.py'
data_root = 'data/sun_rgbd'
dataset_type = 'mwam_mm.SUNRGBDDetDataset'
# Depth, in metres: the statistics in the code of ESANet.
modalities = dict(
    rgb=_base_.imagenet_rgb,
    depth=dict(
        channels=1, mean=2.378, std=1.235, scale=0.001, invalid_value=0))
image_size = (800, 600)  # width, height; the ratio of the images is kept
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
        split='train',
        pipeline=train_pipeline))
val_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        split='test',
        pipeline=test_pipeline))
test_dataloader = val_dataloader
