# KAIST, pedestrians by day and by night, with the sanitised annotations.
_base_ = './det.py'
data_root = 'data/kaist'
dataset_type = 'mwam_mm.KAISTDataset'
# Statistics: those in public use.
modalities = dict(
    rgb=dict(
        channels=3,
        mean=[88.4, 82.1, 72.5],
        std=[60.1, 57.8, 58.0],
        bgr_to_rgb=True),
    thermal=dict(channels=1, mean=40.7, std=20.7, file_channels=[0]))
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
        split='train',
        # As is usual: only frames with somebody in them
        filter_cfg=dict(filter_empty_gt=True),
        pipeline=train_pipeline))
val_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        split='test',
        pipeline=test_pipeline))
test_dataloader = val_dataloader
