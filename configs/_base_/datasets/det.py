# What the public detection datasets share. The inheriting file adds the
# dataset, its modalities and the pipelines.
pack_train = dict(type='PackDetInputs')
# The metric takes the boxes from the samples' "instances": it needs no file,
# so a copy elsewhere needs only another data_root.
pack_test = dict(
    type='PackDetInputs',
    meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor',
               'instances'))
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
