"""Gaussian noise on the gradients of the branches (GE of OGM-GE)."""
from typing import Sequence

import torch
from torch import Tensor
from torch.optim import Optimizer

from mwam_mm.registry import INTERVENTIONS

from .base import Context, Intervention
from .step_hook import held_by

__all__ = ['Noise']

# The released code adds it to the standard deviation.
_EPS = 1e-8


@INTERVENTIONS.register_module(name='noise')
class Noise(Intervention):
    r"""Add noise to the gradients of each branch, for generalisation.

    Before a step, each gradient of ``dims`` dimensions becomes

    .. math::
        g + \epsilon, \quad
        \epsilon \sim N(0, (\text{std}(g) + 10^{-8})^2)

    with the standard deviation over the elements of the tensor, as the
    released code of `OGM-GE <https://arxiv.org/abs/2203.15332>`_ does in
    place of the covariance of the gradient noise of SGD that the text names.
    It does so in all branches, also where K is 1. The standard deviation is
    that of the gradient before K: beside ``'gradient'`` it is divided by K.
    Clipping comes before the noise.

    The draws depend on the seed and the iteration only, so they are the same
    on every rank and when a run resumes.

    Args:
        dims (Sequence[int]): Numbers of dimensions of the tensors that get
            noise. Defaults to (4, ), the kernels of convolutions.
        scale (bool): Whether these gradients are multiplied by K before the
            noise is added, and no others, as in the released code. Leave out
            ``'gradient'`` then. Defaults to False.

    Raises:
        ValueError: If ``dims`` is empty. When training starts, if parameters
            are sharded, or ``scale`` is beside ``'gradient'`` or
            ``'update'``.

    Examples:
        .. code-block:: python

            custom_hooks = [
                dict(type='mwam_mm.BalanceHook',
                     weigher=dict(type='mwam_mm.OGM'),
                     intervention=['gradient', 'noise'])
            ]
    """

    def __init__(self, dims: Sequence[int] = (4, ),
                 scale: bool = False) -> None:
        if not dims:
            raise ValueError('noise.dims is empty: name numbers of dimensions '
                             'of the tensors that get noise')
        self.dims, self.scale = tuple(dims), scale

    @property
    def scales_branches(self) -> bool:
        return self.scale

    def check(self, context: Context) -> None:
        if context.sharded:
            raise ValueError(
                f'{context.where} "noise" needs whole gradients, which FSDP '
                'shards: use DistributedDataParallel')
        both = {'gradient', 'update'}.intersection(context.interventions)
        if self.scale and both:
            raise ValueError(
                f'{context.where} "noise" with scale=True and {sorted(both)} '
                'would scale twice: leave one out')
        lacking = [name for name, parameters in context.probe.branches.items()
                   if not any(p.ndim in self.dims for p in parameters)]
        if lacking:
            raise ValueError(
                f'{context.where} "noise" finds no parameter of {self.dims} '
                f'dimensions in the branches of {lacking}: set noise.dims')

    def attach(self, context: Context) -> None:
        super().attach(context)
        # All optimizers share it: one for each would draw the same numbers.
        self._generator = torch.Generator(context.weights.device)
        self._seeded = -1

    @torch.no_grad()
    def before_step(self, optimizer: Optimizer) -> None:
        runner = self.context.runner
        if self._seeded != runner.iter:
            self._seeded = runner.iter
            self._generator.manual_seed(
                (runner.seed * 1_000_003 + runner.iter) % 2**63)
        held = held_by(optimizer)
        branches = self.context.probe.branches
        for name, k in zip(self.context.modalities, self.context.weights):
            for p in branches[name]:
                if id(p) in held and p.grad is not None and \
                        p.ndim in self.dims:
                    self._change(p.grad, k)

    def _change(self, grad: Tensor, k: Tensor) -> None:
        std = grad.std(unbiased=grad.numel() > 1)
        if self.scale:
            grad.mul_(k)
        elif 'gradient' in self.context.interventions:
            # Where K is 0 the gradient before is lost.
            std = torch.where(k > 0, std / k, torch.zeros_like(std))
        noise = torch.empty_like(grad).normal_(generator=self._generator)
        grad.add_(noise.mul_(std + _EPS))
