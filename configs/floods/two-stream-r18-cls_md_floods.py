# Classification of tiles, with modality dropout ("-MD"): each sample keeps a
# random non-empty subset.
_base_ = [
    '../_base_/models/multi_stream_resnet18_cls.py',
    '../_base_/datasets/floods_cls.py',
    '../_base_/schedules/sgd_poly_cls.py',
    '../_base_/default_runtime_cls.py',
]
modalities = _base_.modalities
channels = 128
model = dict(
    data_preprocessor=dict(modalities=modalities),
    backbone=dict(
        modalities=modalities,
        branch=dict(base_channels=16, stem_channels=16)),
    neck=dict(modalities=modalities, in_channels=[channels]),
    head=dict(in_channels=channels, num_classes=2))
train_dataloader = dict(
    dataset=dict(pipeline=[
        *_base_.train_pipeline,
        dict(type='mwam_mm.RandomDropModality', modalities=modalities),
    ]))
