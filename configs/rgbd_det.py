# RGB + depth detection on the embedded scene set, two streams with modality
# dropout: the twin of rgbd_det_mwam.py.
_base_ = [
    './_base_/models/two_stream_atss_resnet18.py',
    './_base_/datasets/scenes_rgbd_det.py',
    './_base_/schedules/sgd_poly_det.py',
    './_base_/default_runtime_det.py',
]
modalities = _base_.modalities
model = dict(
    data_preprocessor=dict(modalities=modalities),
    backbone=dict(modalities=modalities),
    neck=dict(modalities=modalities),
    bbox_head=dict(num_classes=7))
