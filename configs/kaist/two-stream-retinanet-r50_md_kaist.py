_base_ = [
    '../_base_/models/two_stream_retinanet_resnet50.py',
    '../_base_/datasets/kaist.py',
    '../_base_/schedules/sgd_12e_det.py',
    '../_base_/epoch_runtime_det.py',
]
modalities = _base_.modalities
model = dict(
    data_preprocessor=dict(modalities=modalities),
    backbone=dict(modalities=modalities),
    neck=dict(modalities=modalities),
    bbox_head=dict(num_classes=1),
    # Crowds, cyclists and doubtful persons are no background.
    train_cfg=dict(assigner=dict(ignore_iof_thr=0.5)))
