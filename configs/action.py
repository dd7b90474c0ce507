# What moves in the embedded clips, and how? Frames and optical flow, two
# streams with modality dropout: the twin of action_mwam.py.
_base_ = [
    './_base_/models/multi_stream_resnet18_cls.py',
    './_base_/datasets/clips.py',
    './_base_/schedules/sgd_poly_cls.py',
    './_base_/default_runtime_cls.py',
]
modalities = _base_.modalities
channels = 128
model = dict(
    data_preprocessor=dict(modalities=modalities),
    backbone=dict(
        modalities=modalities,
        branch=dict(base_channels=16, stem_channels=16)),
    neck=dict(modalities=modalities, in_channels=[channels]),
    head=dict(in_channels=channels, num_classes=5))
max_iters = 400
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, begin=0, end=50, by_epoch=False),
    dict(
        type='PolyLR',
        power=0.9,
        eta_min=1e-4,
        begin=50,
        end=max_iters,
        by_epoch=False),
]
