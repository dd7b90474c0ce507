"""Subsets of the modalities by forwards of their own, as a reference."""
import copy

import torch
from mmengine.runner import Runner

from mwam_mm.balance import Intervention
from mwam_mm.models.backbones import map_levels
from mwam_mm.registry import INTERVENTIONS


@INTERVENTIONS.register_module()
class Keeper(Intervention):
    """Keeps what the last iteration was made of and what came out."""

    def attach(self, context):
        super().attach(context)
        self.calls = []
        self.before = copy.deepcopy(context.model)
        for name, branch in context.model.backbone.branches.items():
            branch.register_forward_hook(
                lambda *_, name=name: self.calls.append(name))

    def at_losses(self, signal, losses):
        self.batch = signal.arguments
        self.subsets = signal.subsets
        self.k = dict(zip(signal.modalities, signal.weights.tolist()))
        self.losses = losses
        return losses

    def before_step(self, optimizer):
        self.gradients = {
            name: None if p.grad is None else p.grad.clone()
            for name, p in self.context.model.named_parameters()
        }


def kept(cfg, *interventions, **hook):
    """Train by interventions on the model of a config and return what was
    kept, with the Runner."""
    cfg.custom_hooks = [
        dict(
            dict(
                type='mwam_mm.BalanceHook',
                weigher=dict(
                    type='mwam_mm.Constant', k=dict(rgb=0.5, depth=2.))),
            intervention=[*interventions, 'Keeper'],
            **hook)
    ]
    runner = Runner.from_cfg(cfg)
    runner.train()
    hook, = (h for h in runner.hooks if type(h).__name__ == 'BalanceHook')
    return hook.interventions['Keeper'], runner


def only(x, names, model):
    """The stacked tensor where each sample keeps the named modalities."""
    layout = model.neck.layout
    x = x.clone()
    for i, kept in enumerate(names):
        for name, modality in layout.items():
            if name not in kept:
                x[i, modality.slice] = 0
    return x


def losses_of(model, keeper, subset):
    """The losses by a forward of the model on inputs with zeroed channels."""
    x, samples = keeper.batch['inputs'], keeper.batch['data_samples']
    names = [{m for m, flags in keeper.subsets[subset].items() if flags[i]}
             for i in range(len(samples))]
    rows = [i for i, kept in enumerate(names) if kept]
    return model.loss(
        only(x, names, model)[rows], [samples[i] for i in rows])


def total(losses):
    return sum(
        sum(v) if isinstance(v, (list, tuple)) else v
        for key, v in losses.items() if 'loss' in key)


def assert_separate(keeper, weights, share=1., **tolerance):
    """Losses and gradients are those of separate forwards.

    ``weights`` are those of the subsets, ``share`` multiplies all losses.
    """
    tolerance = tolerance or dict(rtol=1e-5, atol=1e-5)
    model = keeper.before.train()
    expected = {
        key: map_levels(lambda x: share * x, v) if 'loss' in key else v
        for key, v in model.loss(keeper.batch['inputs'],
                                 keeper.batch['data_samples']).items()
    }
    for name, weight in weights.items():
        for key, v in losses_of(model, keeper, name).items():
            expected[f'{name}.{key}'] = map_levels(
                lambda x: share * weight * x, v) if 'loss' in key else v
    assert keeper.losses.keys() == expected.keys()
    for key, value in expected.items():
        torch.testing.assert_close(
            keeper.losses[key], value, msg=lambda m: f'{key}: {m}',
            **tolerance)
    model.zero_grad()
    total(expected).backward()
    learning = 0
    for name, p in model.named_parameters():
        gradient = torch.zeros_like(p) if p.grad is None else p.grad
        ours = keeper.gradients[name]
        torch.testing.assert_close(
            torch.zeros_like(p) if ours is None else ours, gradient,
            msg=lambda m: f'{name}: {m}', **tolerance)
        learning += bool(gradient.any())
    assert learning > 30
