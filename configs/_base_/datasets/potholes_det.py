# Real RGB-D pairs in their publishers' layout, with a box around each
# pothole; see PotholeDetDataset.
_base_ = './det.py'
data_root = 'data/potholes'
dataset_type = 'mwam_mm.PotholeDetDataset'
# Statistics of the training split, 0 of the disparity left out.
modalities = dict(
    rgb=dict(
        channels=3,
        mean=[140.7, 139.9, 140.2],
        std=[30.1, 29.0, 27.7],
        bgr_to_rgb=True),
    depth=dict(
        channels=1,
        mean=0.849,
        std=0.084,
        scale=1 / 65535,
        invalid_value=0))
image_size = (256, 152)  # width, height
train_pipeline = [
    dict(type='mwam_mm.LoadModalities', modalities=modalities),
    _base_.load_boxes,
    dict(type='Resize', scale=image_size),
    *_base_.flip_and_pack,
    # Each sample keeps a random non-empty subset of its modalities ("-MD").
    dict(type='mwam_mm.RandomDropModality', modalities=modalities),
]
test_pipeline = [
    dict(type='mwam_mm.LoadModalities', modalities=modalities),
    dict(type='Resize', scale=image_size),
    _base_.pack_test,
]
train_dataloader = dict(
    batch_size=8,
    num_workers=2,
    sampler=dict(_delete_=True, type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        split='train',
        pipeline=train_pipeline))
val_dataloader = dict(
    num_workers=2,
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        split='test',
        pipeline=test_pipeline))
test_dataloader = val_dataloader
