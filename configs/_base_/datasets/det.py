# What the detection datasets share. The inheriting file adds the dataset, its
# modalities and the pipelines.
_base_ = './modalities.py'
load_boxes = dict(type='LoadAnnotations', with_bbox=True)
# No photometric distortion: it clips colours to flat patches, and those are
# what the published FRM counts.
flip_and_pack = [
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
# CocoMetric takes the boxes from the samples' "instances": it needs no file,
# so a copy elsewhere needs only another data_root. VOCMetric takes those that
# are loaded, which is after Resize: they are the original image's.
load_boxes_and_pack = [
    load_boxes,
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape',
                   'scale_factor', 'instances')),
]
train_dataloader = dict(
    batch_size=4,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True))
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(test_mode=True))
test_dataloader = val_dataloader
val_evaluator = dict(
    type='CocoMetric', metric='bbox', metric_items=['mAP', 'mAP_50'])
test_evaluator = val_evaluator
