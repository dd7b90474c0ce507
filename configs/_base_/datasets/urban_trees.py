# Real RGB and near-infrared tiles in their publishers' layout; see
# UrbanTreesDataset.
_base_ = './det.py'
data_root = 'data/urban_trees'
dataset_type = 'mwam_mm.UrbanTreesDataset'
# Statistics of the training split.
modalities = dict(
    rgb=dict(
        channels=3,
        mean=[115.3, 116.1, 107.3],
        std=[43.5, 38.1, 38.0],
        bgr_to_rgb=True,
        file_channels=[0, 1, 2]),
    nir=dict(
        channels=1,
        mean=122.1,
        std=38.7,
        path_key='img_path',
        file_channels=[3]))
image_size = (256, 256)  # width, height
train_pipeline = [
    dict(type='mwam_mm.LoadModalities', modalities=modalities),
    _base_.load_boxes,
    dict(type='Resize', scale=image_size, keep_ratio=True),
    dict(
        type='RandomFlip',
        prob=[0.25, 0.25, 0.25],
        direction=['horizontal', 'vertical', 'diagonal']),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='mwam_mm.LoadModalities', modalities=modalities),
    dict(type='Resize', scale=image_size, keep_ratio=True),
    *_base_.load_boxes_and_pack,
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
        split='val',
        pipeline=test_pipeline))
test_dataloader = dict(
    num_workers=2,
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        split='test',
        pipeline=test_pipeline))
