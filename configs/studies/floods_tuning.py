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


def tuned(row, **constants):
    """A row of every study, with other constants of its weigher."""
    options = _base_.variants[row]['options']
    hook, = options['custom_hooks']
    weigher = dict(hook['weigher'], **constants)
    hooks = [dict(hook, weigher=weigher)]
    return dict(options={**options, 'custom_hooks': hooks})


def with_intervention(name, **constants):
    """K = 1 and one intervention."""
    return dict(
        options=dict(custom_hooks=[
            dict(
                type='mwam_mm.BalanceHook',
                weigher=dict(type='mwam_mm.Constant'),
                intervention=dict(type=name, **constants))
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
        f'mmpareto-gamma{gamma}': with_intervention('mmpareto', gamma=gamma)
        for gamma in (1, 1.5, 2)
    },
    # Of the others, the published constant is the row of every study, and the
    # best one a row of floods.py.
    **{
        f'ogm-ge-alpha{alpha}': tuned('ogm-ge', alpha=alpha)
        for alpha in (0.3, 0.8)
    },
    **{
        f'agm-alpha{alpha}': tuned('agm', alpha=alpha)
        for alpha in (1.5, 2.5)
    },
    'opm-q0.4': tuned('opm', q_base=0.4),
    **{
        f'mslr-length{length}': tuned('mslr', length=length)
        for length in (2, 10)
    },
    'mses-patience2': tuned('mses', patience=2),
    'lfm-heuristic': with_intervention('lfm', schedule='heuristic'),
}
del kept, held_out, tuned, with_intervention
