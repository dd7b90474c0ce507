"""Optimizers as projects configure them: each branch is scaled just once.

The reference is a run without the hook. K is one half for RGB and 2 for depth,
so that a branch that is met twice, or not at all, stands out.
"""
import pytest
import torch
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.runner import Runner
from mmseg.models import EncoderDecoder

from mwam_mm.registry import MODELS, OPTIM_WRAPPER_CONSTRUCTORS

from .. import tiny
from .ways import BRANCHES

K = dict(rgb=0.5, depth=2.)
# Some values do not survive the division by K and the product with it.
CLOSE = dict(rtol=1e-4, atol=1e-5)


def hook(intervention, path):
    return dict(
        type='mwam_mm.BalanceHook',
        weigher=dict(type='mwam_mm.Constant', k=K),
        intervention=intervention,
        branches=BRANCHES if path else None)


def change(work_dir, **kwargs):
    return tiny.change(
        Runner.from_cfg(tiny.config(work_dir, max_iters=1, **kwargs)))


def assert_scaled_once(scaled, plain):
    moved = set()
    for name, delta in plain.items():
        factor = 1.
        for modality, path in BRANCHES.items():
            if name.startswith(f'{path}.'):
                factor = K[modality]
                moved |= {modality} if delta.any() else set()
        torch.testing.assert_close(scaled[name], factor * delta, **CLOSE)
    assert moved == set(K)


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class OneForRgb:
    """One optimizer for the RGB branch, one for everything else."""

    def __init__(self, optim_wrapper_cfg, paramwise_cfg=None):
        self.type = optim_wrapper_cfg['optimizer']['type']
        self.lr = optim_wrapper_cfg['optimizer']['lr']

    def __call__(self, model):
        rgb = list(model.backbone.branches['rgb'].parameters())
        mine = set(rgb)
        rest = [p for p in model.parameters() if p not in mine]
        make = getattr(torch.optim, self.type)
        return OptimWrapperDict(
            rgb=OptimWrapper(make(rgb, self.lr)),
            rest=OptimWrapper(make(rest, self.lr)))


@MODELS.register_module()
class StepsOfBoth(EncoderDecoder):
    """Calls backward itself, as models with several optimizers do."""

    def train_step(self, data, optim_wrapper):
        data = self.data_preprocessor(data, True)
        loss, logs = self.parse_losses(self._run_forward(data, mode='loss'))
        for wrapper in optim_wrapper.values():
            wrapper.zero_grad()
        loss.backward()
        for wrapper in optim_wrapper.values():
            wrapper.step()
        return logs


PARAMWISE = dict(
    custom_keys={
        'branches.rgb': dict(lr_mult=0.1),
        'branches.depth.layer2': dict(lr_mult=3., decay_mult=0.)
    },
    norm_decay_mult=0.)
WRAPPERS = dict(
    paramwise=dict(paramwise_cfg=PARAMWISE),
    branches=dict(
        constructor='mwam_mm.MultiModalOptimWrapperConstructor',
        paramwise_cfg=dict(custom_keys={'layer2': dict(lr_mult=0.1)})),
    several=dict(constructor='mwam_mm.OneForRgb'))
OPTIMIZERS = dict(
    gradient=dict(type='SGD', lr=100., weight_decay=0.),
    update=dict(type='AdamW', lr=0.1, weight_decay=0.1))


@pytest.mark.parametrize('path', [False, True])
@pytest.mark.parametrize('name', WRAPPERS)
@pytest.mark.parametrize('intervention', OPTIMIZERS)
def test_each_branch_is_scaled_once(tmp_path, intervention, name, path):
    kwargs = dict(
        optim_wrapper=dict(
            WRAPPERS[name], optimizer=OPTIMIZERS[intervention]))
    if name == 'several':
        kwargs['model'] = dict(tiny.model(), type='mwam_mm.StepsOfBoth')
    plain = change(tmp_path / 'plain', **kwargs)
    scaled = change(
        tmp_path / 'scaled', hook=hook(intervention, path), **kwargs)
    assert_scaled_once(scaled, plain)


@pytest.mark.parametrize('path', [False, True])
def test_layer_decay(tmp_path, path):
    """The rates of the layers of a ViT, for each branch."""
    model = tiny.model()
    beit = dict(
        type='mmseg.BEiT',
        img_size=(32, 32),
        patch_size=16,
        embed_dims=8,
        num_layers=3,
        num_heads=2,
        out_indices=(1, 2),
        qv_bias=True)
    model['backbone']['branch'] = beit
    model['neck'].update(in_channels=[8, 8], fusion=None)
    wrapper = dict(
        optimizer=dict(type='AdamW', lr=0.1, weight_decay=0.1),
        constructor='mwam_mm.MultiModalOptimWrapperConstructor',
        paramwise_cfg=dict(
            constructor='mmseg.LearningRateDecayOptimizerConstructor',
            num_layers=3,
            decay_rate=0.5,
            decay_type='layer_wise'))
    plain = change(tmp_path / 'plain', model=model, optim_wrapper=wrapper)
    scaled = change(
        tmp_path / 'scaled',
        model=model,
        optim_wrapper=wrapper,
        hook=hook('update', path))
    assert_scaled_once(scaled, plain)


@pytest.mark.parametrize('path', [False, True])
def test_k_of_zero_stops_a_branch_and_keeps_what_was_accumulated(
        tmp_path, path):
    """The second of two micro-batches has K = 0 for both branches."""

    def run(name, ks):
        runner = Runner.from_cfg(
            tiny.config(
                tmp_path / name,
                hook=hook('gradient', path),
                max_iters=len(ks),
                optim_wrapper=dict(
                    optimizer=dict(type='SGD', lr=100.),
                    accumulative_counts=len(ks))))
        balance, = (h for h in runner.hooks
                    if type(h).__name__ == 'BalanceHook')
        values = iter(ks)

        class Given(type(balance._build_weigher(['rgb', 'depth']))):

            def step(self):
                return torch.full_like(self.weights, next(values))

        balance.weigher_cfg = dict(type=Given)
        balance.weigher = Given(['rgb', 'depth']) if path else None
        return tiny.change(runner)

    both = run('both', [0.5, 0.])
    first = run('first', [0.5])
    branch = [n for n in both if n.startswith('backbone.branches')]
    assert any(first[n].any() for n in branch)
    for name in branch:  # the loss is divided by the number of micro-batches
        torch.testing.assert_close(both[name], first[name] / 2, **CLOSE)
