_base_ = './scenes_det.py'
modalities = dict(
    rgb=_base_.scene_modalities.rgb,
    depth=_base_.scene_modalities.depth)
train_pipeline = [
    dict(type='mwam_mm.LoadModalities', modalities=modalities),
    *_base_.train_transforms,
    # Each sample keeps a random non-empty subset of its modalities ("-MD").
    dict(type='mwam_mm.RandomDropModality', modalities=modalities),
]
test_pipeline = [
    dict(type='mwam_mm.LoadModalities', modalities=modalities),
    *_base_.test_transforms,
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
