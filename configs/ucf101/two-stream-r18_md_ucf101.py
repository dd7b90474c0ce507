_base_ = [
    '../_base_/models/multi_stream_resnet18_cls.py',
    '../_base_/datasets/ucf101.py',
    '../_base_/schedules/sgd_100e_cls.py',
    '../_base_/epoch_runtime_cls.py',
]
modalities = _base_.modalities
model = dict(
    data_preprocessor=dict(modalities=modalities),
    backbone=dict(modalities=modalities),
    neck=dict(modalities=modalities),
    head=dict(num_classes=101))
