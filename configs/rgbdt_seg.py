# RGB + depth + thermal segmentation of the embedded scene set; the twin of
# rgbdt_seg_mwam.py.
_base_ = [
    './_base_/models/two_stream_resnet18.py',
    './_base_/datasets/scenes_rgbdt_seg.py',
    './_base_/schedules/sgd_poly.py',
    './_base_/default_runtime.py',
]
modalities = _base_.modalities
model = dict(
    data_preprocessor=dict(modalities=modalities),
    backbone=dict(modalities=modalities),
    neck=dict(modalities=modalities),
    decode_head=dict(num_classes=8))
