_base_ = [
    '../_base_/models/multi_stream_resnet18_cls.py',
    '../_base_/datasets/casia_surf.py',
    '../_base_/schedules/sgd_100e_cls.py',
    '../_base_/epoch_runtime_cls.py',
]
modalities = _base_.modalities
model = dict(
    data_preprocessor=dict(modalities=modalities),
    backbone=dict(modalities=modalities),
    neck=dict(modalities=modalities),
    head=dict(num_classes=2))
# The table has the PCR of the paper's metric and of the usual one.
metric = ['accuracy/top1', 'spoofing/ACER']
val_cfg = dict(metric=metric)
test_cfg = dict(metric=metric)
