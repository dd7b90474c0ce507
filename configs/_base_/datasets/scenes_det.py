# The embedded scene set with boxes and instance masks. Inherited by one file
# per choice of modalities, which adds the pipelines.
_base_ = './scenes.py'
dataset_type = 'mwam_mm.SceneDetDataset'
# No photometric distortion: it clips colours to flat patches, and those are
# what the published FRM counts.
train_transforms = [
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
test_transforms = [
    dict(type='Resize', scale=(160, 120), keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape',
                   'scale_factor')),
]
train_dataloader = dict(
    batch_size=8,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(type=dataset_type, data_root=_base_.data_root, split='train'))
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        data_root=_base_.data_root,
        split='val',
        test_mode=True))
test_dataloader = val_dataloader
val_evaluator = dict(
    type='CocoMetric',
    ann_file=_base_.data_root + '/annotations/val.json',
    metric='bbox',
    metric_items=['mAP', 'mAP_50'])
test_evaluator = val_evaluator
