"""K on what the optimizer changes in the branches."""
from types import SimpleNamespace
from typing import Any, Dict, List, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from mwam_mm.registry import INTERVENTIONS

from .base import Context, Intervention
from .step_hook import StepHook, held_by

__all__ = ['Update', 'scale_updates']


@INTERVENTIONS.register_module(name='update')
class Update(Intervention):
    r"""Multiply what a step changes in each branch's parameters by K (Alg. 1).

    After each step a parameter of modality m lies at
    :math:`\theta + K_m (\theta' - \theta)`, between the value before the step
    and the one that the optimizer gave it. Learning rates, weight decay and
    the optimizer's state stay as they are, so it acts with every optimizer.
    Where gradients are accumulated, K is that of the last micro-batch. A step
    that the fp16 scaler skips stays skipped.
    """

    scales_branches = True

    def check(self, context: Context) -> None:
        branches = context.probe.branches
        if context.sharded and not all(branches.values()):
            raise ValueError(
                f'{context.where} "update" finds no parameters of the '
                'branches: set use_orig_params=True in FSDP')
        held = held_by(*context.optimizers)
        for name, parameters in branches.items():
            trainable = [p for p in parameters if p.requires_grad]
            if trainable and not any(id(p) in held for p in trainable):
                raise ValueError(
                    f'{context.where} "update": no optimizer has a parameter '
                    f'of the branch of modality "{name}". If the model is in '
                    'a wrapper that flattens its parameters, use "gradient"')

    def before_step(self, optimizer: Optimizer) -> None:
        held = held_by(optimizer)
        self._params: Dict[str, List[Tensor]] = {}
        self._before: Dict[str, Sequence[Tensor]] = {}
        for name, parameters in self.context.probe.branches.items():
            mine = [p.detach() for p in parameters
                    if p.requires_grad and id(p) in held]
            if mine:
                self._params[name] = mine
                # The product with 1 copies all of them in a few calls.
                self._before[name] = torch._foreach_mul(mine, 1.)

    @torch.no_grad()
    def after_step(self, optimizer: Optimizer) -> None:
        back = dict(zip(self.context.modalities, 1 - self.context.weights))
        for name, params in self._params.items():
            # K times the change would round; this leaves every bit at K = 1.
            change = torch._foreach_sub(self._before[name], params)
            torch._foreach_mul_(change, back[name].to(params[0].device))
            torch._foreach_add_(params, change)
        self._params, self._before = {}, {}


def scale_updates(weights: Any, branches: Mapping[str, Sequence[nn.Parameter]],
                  optimizers: Sequence[Optimizer]) -> List[StepHook]:
    """:class:`Update` without a runner, for training loops of one's own.

    Args:
        weights (MWAM): Has ``modalities`` and the newest ``weights``, which
            each step takes.
        branches (Mapping[str, Sequence[nn.Parameter]]): Modality to the
            parameters of its branch.
        optimizers (Sequence[Optimizer]): The optimizers.

    Returns:
        list[StepHook]: Handles, whose ``remove`` ends the scaling.

    Raises:
        ValueError: If no optimizer has a parameter of a branch that trains.
    """
    update = Update()
    update.check(
        SimpleNamespace(
            probe=SimpleNamespace(branches=branches),
            optimizers=optimizers,
            sharded=False,
            where='intervention'))
    update.context = _Live(weights, branches)
    return [StepHook(optimizer, [update]) for optimizer in optimizers]


class _Live:
    """A context whose weights are those of another object at any time."""

    def __init__(self, weights: Any, branches: Mapping) -> None:
        self._source = weights
        self.modalities = weights.modalities
        self.probe = SimpleNamespace(branches=branches)

    @property
    def weights(self) -> Tensor:
        return self._source.weights
