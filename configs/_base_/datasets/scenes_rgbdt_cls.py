# The objects of the embedded scene set, cut out.
_base_ = ['./scenes.py', './cls.py']
dataset_type = 'mwam_mm.SceneClsDataset'
modalities = _base_.scene_modalities
image_size = (48, 48)
train_pipeline = [
    dict(type='mwam_mm.LoadModalities', modalities=modalities),
    dict(type='Resize', scale=image_size),
    *_base_.flip_and_pack,
    # Each sample keeps a random non-empty subset of its modalities ("-MD").
    dict(type='mwam_mm.RandomDropModality', modalities=modalities),
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
        data_root=_base_.data_root,
        split='train',
        pipeline=train_pipeline))
val_dataloader = dict(
    num_workers=2,
    dataset=dict(
        type=dataset_type,
        data_root=_base_.data_root,
        split='val',
        pipeline=test_pipeline))
test_dataloader = val_dataloader
