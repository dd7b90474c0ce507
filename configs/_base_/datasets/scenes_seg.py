# The embedded scene set with label maps. Inherited by one file per choice of
# modalities, which adds the pipelines.
_base_ = ['./scenes.py', './seg.py']
dataset_type = 'mwam_mm.SceneDataset'
train_transforms = [
    dict(type='LoadAnnotations'),
    *_base_.flip_and_pack,
]
test_transforms = [
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(
    num_workers=2,
    dataset=dict(type=dataset_type, data_root=_base_.data_root, split='train'))
val_dataloader = dict(
    num_workers=2,
    dataset=dict(type=dataset_type, data_root=_base_.data_root, split='val'))
test_dataloader = val_dataloader
