# sgd_poly.py for the small classifiers.
_base_ = './sgd_poly.py'
max_iters = 600
optim_wrapper = dict(optimizer=dict(lr=0.05))
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
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
default_hooks = dict(
    checkpoint=dict(save_best='avg/accuracy/top1'),
    visualization=dict(type='VisualizationHook'))
