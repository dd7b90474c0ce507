# Which constant suits the floods, on a fifth of the training set that is held
# out. The test split is not touched; floods.py has the rows of what is chosen.
_base_ = './floods.py'
baseline = 'combination-k_distill'
ceilings = None
held_out = list(range(0, 624, 5))
kept = [i for i in range(624) if i % 5]
options = {
    'train_dataloader.dataset.indices': kept,
    'val_dataloader.dataset.split': 'train',
    'val_dataloader.dataset.indices': held_out,
}


def constant(weigher, intervention, **arguments):
    """A comparator with another constant."""
    return dict(
        options=dict(custom_hooks=[
            dict(
                type='mwam_mm.BalanceHook',
                weigher=dict(type=f'mwam_mm.{weigher}', **arguments),
                intervention=intervention)
        ]))


variants = {
    # Learning rate of the branches; 1 and 2 are rows of every study.
    'combination-k_distill-branches1.5': dict(
        options={
            **_base_.variants['combination-k_distill']['options'],
            'optim_wrapper.paramwise_cfg.custom_keys': {
                'backbone.branches': dict(lr_mult=1.5)
            }
        }),
    # Weight of distill; 1 is the row of every study.
    **{
        f'combination-k_distill-weight{weight}': dict(
            options={
                'model.neck.mwam': {},
                'custom_hooks': [
                    dict(
                        type='mwam_mm.MWAMHook',
                        intervention=[
                            dict(type='combination', weights='k'),
                            dict(type='distill', weights='k', weight=weight)
                        ])
                ]
            })
        for weight in (4, 10)
    },
    **{
        f'mmpareto-gamma{gamma}': constant(
            'Constant', dict(type='mmpareto', gamma=gamma))
        for gamma in (1, 1.5, 2)
    },
    **{
        f'opm-q{q_base}': constant(
            'OPM', dict(type='dropout', draw='each'), q_base=q_base)
        for q_base in (0.4, 0.5, 0.7)
    },
}
del kept, held_out, constant
