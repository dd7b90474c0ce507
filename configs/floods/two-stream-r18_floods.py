# Two streams trained jointly, all modalities always present.
_base_ = [
    '../_base_/models/two_stream_resnet18.py',
    '../_base_/datasets/floods.py',
    '../_base_/schedules/sgd_poly.py',
    '../_base_/default_runtime.py',
]
modalities = _base_.modalities
model = dict(
    data_preprocessor=dict(modalities=modalities),
    backbone=dict(modalities=modalities),
    neck=dict(modalities=modalities),
    decode_head=dict(num_classes=2))
# 11 epochs of 624 pairs
max_iters = 880
optim_wrapper = dict(optimizer=dict(lr=0.05))
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, begin=0, end=20, by_epoch=False),
    dict(
        type='PolyLR',
        power=0.9,
        eta_min=1e-4,
        begin=20,
        end=max_iters,
        by_epoch=False),
]
