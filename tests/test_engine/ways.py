"""The ways in which MWAM can be put into a training run."""
from .. import tiny

BRANCHES = dict(rgb='backbone.branches.rgb', depth='backbone.branches.depth')
STAGES = [f'{path}.layer2' for path in BRANCHES.values()]


def _hook(**kwargs):
    return dict(type='mwam_mm.MWAMHook', **kwargs)


# The hook's way, or the neck's, and the intervention.
WAYS = {
    'hook-gradient': dict(hook=_hook(branches=BRANCHES)),
    'hook-update': dict(
        hook=_hook(branches=BRANCHES, intervention='update')),
    'neck-gradient': dict(mwam=dict(), hook=_hook()),
    'neck-update': dict(mwam=dict(), hook=_hook(intervention='update')),
    'neck-loss': dict(mwam=dict(), hook=_hook(intervention='loss')),
    'neck-dropout': dict(mwam=dict(), hook=_hook(intervention='dropout')),
}


def way_config(work_dir, way, **kwargs):
    """A tiny training job with one of ``WAYS``; '' is one without MWAM."""
    cfg = tiny.config(work_dir, **(WAYS[way] if way else {}), **kwargs)
    if way == 'neck-loss':
        cfg.model.host = cfg.model.type
        cfg.model.type = 'mwam_mm.with_modality_heads'
    return cfg


def mwam_hook(runner):
    """The MWAMHook of a Runner."""
    hook, = (h for h in runner.hooks if type(h).__name__ == 'MWAMHook')
    return hook


def k_of_every_iteration(runner):
    """A list that training will fill with the weights K."""
    history = []
    hook = mwam_hook(runner)
    after = hook.after_train_iter

    def spy(*args, **kwargs):
        history.append(hook.mwam.weights.cpu().clone())
        return after(*args, **kwargs)

    hook.after_train_iter = spy
    return history
