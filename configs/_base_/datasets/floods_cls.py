# Is a tile of the floods of floods.py flooded? See OmbriaClsDataset.
_base_ = './cls.py'
data_root = 'data/floods'
dataset_type = 'mwam_mm.OmbriaClsDataset'
# Statistics of the training split, reduced to half its size.
modalities = dict(
    rgb=dict(
        channels=3,
        mean=[42.7, 59.8, 39.8],
        std=[32.9, 33.1, 32.3],
        bgr_to_rgb=True),
    sar=dict(channels=1, mean=151.9, std=49.6))
image_size = (64, 64)
train_pipeline = [
    dict(type='mwam_mm.LoadModalities', modalities=modalities),
    dict(type='Resize', scale=image_size),
    *_base_.flip_and_pack,
]
test_pipeline = [
    dict(type='mwam_mm.LoadModalities', modalities=modalities),
    dict(type='Resize', scale=image_size),
    dict(type='PackInputs'),
]
train_dataloader = dict(
    batch_size=32,
    num_workers=2,
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
