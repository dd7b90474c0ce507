_base_ = [
    '../_base_/models/two_stream_resnet50.py',
    '../_base_/datasets/msrs.py',
    '../_base_/schedules/sgd_poly_40k.py',
    '../_base_/default_runtime.py',
]
modalities = _base_.modalities
model = dict(
    data_preprocessor=dict(modalities=modalities),
    backbone=dict(modalities=modalities),
    neck=dict(modalities=modalities),
    decode_head=dict(num_classes=9))
