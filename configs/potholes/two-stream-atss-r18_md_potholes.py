# Boxes of the potholes, two streams with modality dropout ("-MD").
_base_ = [
    '../_base_/models/two_stream_atss_resnet18.py',
    '../_base_/datasets/potholes_det.py',
    '../_base_/schedules/sgd_poly_det.py',
    '../_base_/default_runtime_det.py',
]
modalities = _base_.modalities
model = dict(
    data_preprocessor=dict(modalities=modalities),
    backbone=dict(modalities=modalities),
    neck=dict(modalities=modalities),
    bbox_head=dict(num_classes=1),
    test_cfg=dict(score_thr=0.001))
# 80 epochs of 44 pairs
max_iters = 440
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
