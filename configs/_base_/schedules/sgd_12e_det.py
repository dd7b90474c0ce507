# For datasets of full size; validates every four epochs over all modality
# combinations. Epochs, so that a small dataset is soon done with.
max_epochs = 12
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.005, momentum=0.9, weight_decay=0.0001),
    clip_grad=dict(max_norm=35, norm_type=2))
param_scheduler = [
    dict(
        type='LinearLR',
        start_factor=0.001,
        begin=0,
        end=1,
        convert_to_iter_based=True),
    dict(
        type='MultiStepLR',
        milestones=[8, 11],
        gamma=0.1,
        begin=0,
        end=max_epochs,
        by_epoch=True),
]
train_cfg = dict(
    type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=4)
metric = ['coco/bbox_mAP', 'coco/bbox_mAP_50']
val_cfg = dict(type='mwam_mm.MissingModalityValLoop', metric=metric)
test_cfg = dict(type='mwam_mm.MissingModalityTestLoop', metric=metric)
default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(
        type='CheckpointHook',
        interval=4,
        max_keep_ckpts=2,
        save_best='avg/coco/bbox_mAP'),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    random_state=dict(type='mwam_mm.RandomStateHook'),
    visualization=dict(type='DetVisualizationHook'),
    num_classes=dict(type='NumClassCheckHook'))
