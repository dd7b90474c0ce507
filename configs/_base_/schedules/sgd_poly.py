# SGD with a short warm-up and polynomial decay; validates once, at the end,
# over all modality combinations.
max_iters = 1600
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.3, momentum=0.9, weight_decay=0.0005))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, begin=0, end=50, by_epoch=False),
    dict(
        type='PolyLR',
        power=0.9,
        eta_min=1e-4,
        begin=50,
        end=max_iters,
        by_epoch=False),
]
train_cfg = dict(
    type='IterBasedTrainLoop', max_iters=max_iters, val_interval=max_iters)
val_cfg = dict(type='mwam_mm.MissingModalityValLoop')
test_cfg = dict(type='mwam_mm.MissingModalityTestLoop')
default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50, log_metric_by_epoch=False),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(
        type='CheckpointHook',
        by_epoch=False,
        interval=500,
        max_keep_ckpts=2,
        save_best='avg/mIoU'),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    random_state=dict(type='mwam_mm.RandomStateHook'),
    visualization=dict(type='SegVisualizationHook'))
