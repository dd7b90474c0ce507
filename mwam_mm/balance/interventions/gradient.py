"""K on the gradients of the branches."""
from typing import Any, List, Optional

import torch
from torch import Tensor
from torch.autograd import Variable
from torch.optim import Optimizer

from mwam_mm.models.backbones import BranchOutputs
from mwam_mm.mwam import scale_gradient
from mwam_mm.registry import INTERVENTIONS

from ..probes.base import tensors_in
from ..signal import Signal
from .base import Context, Intervention

__all__ = ['Gradient', 'is_adaptive']

# These optimizers divide a constant factor of the gradient out again. They are
# told by name, because most are not part of PyTorch.
_ADAPTIVE = {
    'Adadelta', 'Adafactor', 'Adagrad', 'Adam', 'AdamP', 'AdamW', 'AdaBelief',
    'Adamax', 'Adan', 'DAdaptAdam', 'LAMB', 'Lamb', 'LARS', 'Lion', 'Muon',
    'NAdam', 'NovoGrad', 'Prodigy', 'RAdam', 'RMSprop', 'Rprop', 'SparseAdam'
}
# It takes the place of K = 0 where gradients are divided by K.
_TINY = 1e-8


def is_adaptive(optimizer: Optimizer) -> bool:
    """Whether a constant factor of the gradients hardly changes its steps."""
    # ZeroRedundancyOptimizer holds the one that it runs.
    optimizer = getattr(optimizer, 'optim', optimizer)
    return any(cls.__name__ in _ADAPTIVE for cls in type(optimizer).__mro__)


@INTERVENTIONS.register_module(name='gradient')
class Gradient(Intervention):
    """Multiply the gradients of each branch's parameters by K.

    Clipping and the optimizer see scaled gradients. Where gradients are
    accumulated, each backward has its own K.

    With an :class:`MWAMNeck` the gradients are scaled where they reach the
    branches, at the features; backpropagation being linear, this scales those
    of all parameters of the branch, as far as they come through the neck. On
    other models they are scaled when backward ends, by a few calls for each
    branch: gradients that were there before are divided by K when backward
    starts, so that the product with K leaves them as they were. Under
    DistributedDataParallel that comes after the all-reduce, and K is the same
    on all ranks.
    """

    scales_branches = True
    #: The backward that has divided gradients and not yet multiplied them.
    _backward: Optional[int] = None

    def check(self, context: Context) -> None:
        if context.sharded and not context.probe.gives_features:
            # FSDP runs on views of the parameters, and without use_orig_params
            # it takes the parameters away.
            raise ValueError(
                f'{context.where} cannot scale the gradients of branches=... '
                'under FSDP: use MWAMNeck with model.neck.mwam, '
                'intervention="update" or DistributedDataParallel')
        if 'update' in context.interventions:
            context.logger.warning(
                f'{context.where} has both "gradient" and "update": '
                'with SGD the branches are scaled by K twice.')
            return
        for optimizer in filter(is_adaptive, context.optimizers):
            context.logger.warning(
                f'{type(optimizer).__name__} divides the scale of a gradient '
                f'out again, so {context.where}="gradient" hardly acts on it: '
                'use intervention="update", which scales what the optimizer '
                'changes.')

    def at_features(self, signal: Signal,
                    outputs: BranchOutputs) -> BranchOutputs:
        weights = dict(zip(signal.modalities, signal.weights))
        return outputs.map(lambda name, x: scale_gradient(x, weights[name]))

    def at_losses(self, signal: Signal, losses: Any) -> Any:
        if signal.outputs is not None:
            return losses
        starts = [x for x in tensors_in(losses) if x.requires_grad]
        for loss in starts:
            loss.register_hook(self._start)
        if not starts and any(
                p.requires_grad for branch in self.context.probe.branches.
                values() for p in branch):
            raise ValueError(
                f'{self.context.where} "gradient" looks for tensors with a '
                f'gradient in what {type(self.context.model).__name__}.forward'
                f' returns, to learn when backward starts, but {type(losses)} '
                'has none: return the losses, in a dict, list or tuple, or '
                'use intervention="update"')
        return losses

    def _start(self, _: Tensor) -> None:
        """Called with the gradient of each loss, the first time before any
        branch has a gradient of this backward."""
        backward = torch._C._current_graph_task_id()
        if self._backward == backward or self.context is None:
            return
        self._settle()
        self._backward = backward
        self._weights = self.context.weights
        gradients = self._gradients()
        if any(gradients):
            # A factor of 0 would lose the gradients that are there.
            self._weights = self._weights.clamp(min=_TINY)
        for weight, of_branch in zip(self._weights, gradients):
            if of_branch:
                torch._foreach_mul_(of_branch, 1 / weight)
        Variable._execution_engine.queue_callback(self._wait)

    def _wait(self) -> None:
        # DistributedDataParallel queues a callback as well, which puts the
        # reduced gradients into place. What is queued now comes after it.
        Variable._execution_engine.queue_callback(self._settle)

    def _settle(self) -> None:
        """Multiply by K at the end of a backward. One that an error broke off
        has no end, so the next one, or the step, makes up for it."""
        if self._backward is None:
            return
        self._backward = None
        for weight, of_branch in zip(self._weights, self._gradients()):
            if of_branch:
                torch._foreach_mul_(of_branch, weight)

    def before_step(self, optimizer: Optimizer) -> None:
        self._settle()

    def detach(self) -> None:
        super().detach()
        self._backward = None

    def _gradients(self) -> List[List[Tensor]]:
        """The gradients of each branch, in the order of K."""
        return [[p.grad for p in self.context.probe.branches[name]
                 if p.grad is not None] for name in self.context.modalities]
