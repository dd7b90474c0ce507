# The schedule of the paper's classifiers: SGD with a learning rate of 1e-3 for
# 100 epochs of batches of 64. Momentum, weight decay and the constant learning
# rate are not from there. Validates every ten epochs over all modality
# combinations.
max_epochs = 100
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.001, momentum=0.9, weight_decay=0.0005))
param_scheduler = []
train_cfg = dict(
    type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=10)
val_cfg = dict(type='mwam_mm.MissingModalityValLoop')
test_cfg = dict(type='mwam_mm.MissingModalityTestLoop')
default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(
        type='CheckpointHook',
        interval=10,
        max_keep_ckpts=2,
        save_best='avg/accuracy/top1'),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    random_state=dict(type='mwam_mm.RandomStateHook'),
    visualization=dict(type='VisualizationHook'))
