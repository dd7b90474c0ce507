# Two streams trained jointly, both modalities always present.
_base_ = [
    '../_base_/models/two_stream_fcos_resnet18.py',
    '../_base_/datasets/urban_trees.py',
    '../_base_/schedules/sgd_poly_det.py',
    '../_base_/default_runtime_det.py',
]
modalities = _base_.modalities
model = dict(
    data_preprocessor=dict(modalities=modalities),
    backbone=dict(modalities=modalities),
    neck=dict(modalities=modalities),
    bbox_head=dict(num_classes=1))
# 9 epochs of 220 tiles: small batches get further in the same time.
max_iters = 500
train_dataloader = dict(batch_size=4)
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
