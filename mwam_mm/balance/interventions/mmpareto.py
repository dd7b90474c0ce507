"""MMPareto at the features: no conflict of fused and single losses."""
from typing import Any, List, Optional, Tuple

import torch
from torch import Tensor

from mwam_mm.layout import to_device
from mwam_mm.models.backbones import (
    BranchOutputs,
    flatten_levels,
    nest_levels,
)
from mwam_mm.models.subsets import times
from mwam_mm.registry import INTERVENTIONS

from ..predictions import has_labels
from ..signal import Signal
from .base import Context
from .subsets import OnSubsets

__all__ = ['MMPareto', 'combine_gradients']

# A point whose squared norm is below this share of those of its two summands
# consists of rounding errors.
_CANCELLED = 1e-6


def combine_gradients(fused: List[Tensor], alone: List[Tensor],
                      gamma: float = 1.5) -> List[Tensor]:
    """Combine two gradients that may be in conflict.

    Args:
        fused (list[Tensor]): Parts of the gradient of the fused loss, each
            of any shape.
        alone (list[Tensor]): Those of the loss of one modality, of the same
            shapes.
        gamma (float): Factor of the result. Defaults to 1.5.

    Returns:
        list[Tensor]: Parts of ``gamma`` times the sum of both, where the
        angle between them is not obtuse. Otherwise twice the point of least
        norm between them in place of the sum, made as long as the sum if it
        is shorter.

    Examples:
        >>> import torch
        >>> g, = combine_gradients([torch.tensor([1., 0.])],
        ...                        [torch.tensor([-1., 1.])], gamma=1.)
        >>> g
        tensor([0.4472, 0.8944])
    """

    def dot(a: List[Tensor], b: List[Tensor]) -> Tensor:
        return torch.stack(
            [(x.float() * y.float()).sum() for x, y in zip(a, b)]).sum()

    ff, aa, fa = dot(fused, fused), dot(alone, alone), dot(fused, alone)
    apart = ff + aa - 2 * fa
    # These are the shares of the two gradients in a conflict. Computed as 1
    # minus the other, a small one would lose its digits.
    share, rest = (aa - fa) / apart, (ff - fa) / apart
    # These are the norms of the point and of the sum.
    summands = share**2 * ff + rest**2 * aa
    point = (summands + 2 * share * rest * fa).clamp(min=0).sqrt()
    whole = (ff + aa + 2 * fa).clamp(min=0).sqrt()
    # Opposite gradients cancel out and leave rounding errors, which must not
    # be made longer. A gradient that is merely short leaves none.
    longer = torch.where(point**2 > _CANCELLED * summands,
                         (whole / (2 * point)).clamp(min=1),
                         torch.ones_like(point))
    conflict = fa < 0
    one = torch.ones_like(share)
    a = gamma * torch.where(conflict, 2 * share * longer, one)
    b = gamma * torch.where(conflict, 2 * rest * longer, one)
    # The sum is taken in float32, since the factor of a short gradient may
    # exceed float16.
    return [(a * x.float() + b * y.float()).to(x)
            for x, y in zip(fused, alone)]


class _TwoViews(torch.autograd.Function):
    """Two views of the levels of one modality, whose gradients meet."""

    @staticmethod
    def forward(ctx, gamma: float, present: Optional[Tensor],
                *levels: Tensor) -> Tuple[Tensor, ...]:
        ctx.gamma, ctx.present = gamma, present
        return tuple(x.view_as(x) for x in (*levels, *levels))

    @staticmethod
    def backward(ctx, *grads: Tensor) -> Tuple[Any, ...]:
        if ctx.present is not None:
            # The fused loss has a gradient at the zeros of samples without the
            # modality, too, which reaches no branch.
            grads = tuple(
                torch.where(
                    ctx.present.view(-1, *[1] * (x.ndim - 1)), x,
                    x.new_zeros(())) for x in grads)
        half = len(grads) // 2
        return (None, None, *combine_gradients(
            list(grads[:half]), list(grads[half:]), ctx.gamma))


@INTERVENTIONS.register_module(name='mmpareto')
class MMPareto(OnSubsets):
    r"""Add the loss of each modality alone, without conflict in its branch.

    .. math::
        L = L(y, y_o) + \sum_m K_m L(y, y_m),

    where :math:`y_m` is what the model's own neck and heads make of modality
    m alone. At the features of m the gradient g of the fused loss and h of
    the single one meet. The branch gets :math:`\gamma (g + h)`, or where
    :math:`g \cdot h < 0`, :math:`2 \gamma` times the point of least norm on
    the segment from g to h, at least as long as :math:`\gamma (g + h)`. Neck
    and heads get the plain sum.

    `MMPareto <https://arxiv.org/abs/2405.17730>`_ does so with the gradients
    of the parameters, which takes a backward for each loss. At the features,
    the upper bound of `MGDA-UB <https://arxiv.org/abs/1810.04650>`_, one
    backward is enough. The gradients that are compared are those at the
    samples of a rank's batch that have the modality.

    Args:
        gamma (float): Factor of what the branches get, positive. Defaults to
            1.5, as published.

    Raises:
        ValueError: If ``gamma`` is not positive. When training starts, if the
            model has no :class:`MWAMNeck`.

    Examples:
        .. code-block:: python

            custom_hooks = [
                dict(type='mwam_mm.BalanceHook',
                     weigher=dict(type='mwam_mm.Constant'),
                     intervention='mmpareto')
            ]
    """
    name = 'mmpareto'

    def __init__(self, gamma: float = 1.5) -> None:
        if not 0 < gamma < float('inf'):
            raise ValueError(
                f'mmpareto.gamma must be positive, but got {gamma}')
        super().__init__()
        self.gamma = gamma

    def check(self, context: Context) -> None:
        super().check(context)
        names = list(context.interventions)
        if 'detach' in names[:names.index('mmpareto')]:
            raise ValueError(
                f'{context.where}: name "detach" after "mmpareto", which '
                'compares the gradients of what is detached')

    def at_fusion(self, signal: Signal,
                  outputs: BranchOutputs) -> BranchOutputs:
        if not has_labels(signal):
            return outputs  # the model was not called for losses
        first, second = {}, {}
        for name, features in outputs.features.items():
            first[name] = second[name] = None
            if features is None:
                continue
            levels = flatten_levels(features)
            present = outputs.present[name]
            views = _TwoViews.apply(
                self.gamma, None if all(present) else to_device(
                    present, levels[0]), *levels)
            first[name] = nest_levels(views[:len(levels)], features)
            second[name] = nest_levels(views[len(levels):], features)
        # The losses of the modalities alone take the second ones.
        signal.outputs = signal.outputs._replace(features=second)
        return outputs._replace(features=first)

    def at_losses(self, signal: Signal, losses: Any) -> Any:
        if signal.joined is None:
            return losses  # the model was not called for losses
        losses, joined = dict(losses), signal.joined
        for name, k in zip(signal.modalities, signal.weights):
            if name not in joined.groups:
                continue
            weight = 0. if joined.groups[name].idle else k
            losses.update(times(weight, joined.losses(name), only_losses=True,
                                prefix=f'alone_{name}.'))
        return losses
