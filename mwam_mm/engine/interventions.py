"""How the weights K act on training, where a gradient is not what is scaled.

``'gradient'`` is in :class:`MWAMHook` and :class:`MWAMNeck`, ``'loss'`` in
:func:`with_modality_heads`.
"""
from typing import Any, Dict, List, Mapping, Sequence, Tuple, Union

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from mwam_mm.mwam import MWAM

INTERVENTIONS = ('gradient', 'update', 'loss')

# They divide a constant factor of the gradient out again. By name, because
# most are not of PyTorch.
_ADAPTIVE = {
    'Adadelta', 'Adafactor', 'Adagrad', 'Adam', 'AdamP', 'AdamW', 'AdaBelief',
    'Adamax', 'Adan', 'DAdaptAdam', 'LAMB', 'Lamb', 'LARS', 'Lion', 'Muon',
    'NAdam', 'NovoGrad', 'Prodigy', 'RAdam', 'RMSprop', 'Rprop', 'SparseAdam'
}


def check_interventions(
        intervention: Union[str, Sequence[str]]) -> Tuple[str, ...]:
    """The interventions as a tuple.

    Args:
        intervention (str | Sequence[str]): One or several of
            ``INTERVENTIONS``.

    Raises:
        ValueError: If there is none, an unknown one, or one twice.
    """
    names = [intervention] if isinstance(intervention, str) else intervention
    where = f'MWAMHook.intervention={intervention!r}'
    if not names:
        raise ValueError(f'{where} is empty: name one or several of '
                         f'{list(INTERVENTIONS)}')
    unknown = [name for name in names if name not in INTERVENTIONS]
    if unknown:
        raise ValueError(f'{where} names {unknown}; known are '
                         f'{list(INTERVENTIONS)}')
    if len(set(names)) < len(names):
        raise ValueError(f'{where} names one twice')
    return tuple(names)


def is_adaptive(optimizer: Optimizer) -> bool:
    """Whether a constant factor of the gradients hardly changes its steps."""
    return any(cls.__name__ in _ADAPTIVE for cls in type(optimizer).__mro__)


def scale_updates(mwam: MWAM, branches: Mapping[str,
                                                Sequence[nn.Parameter]],
                  optimizers: Sequence[Optimizer]) -> List[Any]:
    r"""Scale what the steps of the optimizers change in the branches.

    After each step a parameter of modality m lies at
    :math:`\theta + K_m (\theta' - \theta)`, between the value before the step
    and the one that the optimizer gave it. Learning rates, weight decay and
    the optimizer's state stay as they are.

    Args:
        mwam (MWAM): Its weights at the time of the step are taken.
        branches (Mapping[str, Sequence[nn.Parameter]]): Modality to the
            parameters of its branch.
        optimizers (Sequence[Optimizer]): The optimizers.

    Returns:
        list: Handles, whose ``remove`` ends the scaling.

    Raises:
        ValueError: If no optimizer has a parameter of a branch that trains.
    """
    handles: List[Any] = []
    held = [{p for group in optimizer.param_groups for p in group['params']}
            for optimizer in optimizers]
    for name, parameters in branches.items():
        if parameters and not any(p in params for params in held
                                  for p in parameters):
            raise ValueError(
                'MWAMHook.intervention "update": no optimizer has a parameter '
                f'of the branch of modality "{name}". If the model is in a '
                'wrapper that flattens its parameters, use "gradient"')
    for optimizer, params in zip(optimizers, held):
        branch = {
            p: mwam.modalities.index(name)
            for name, parameters in branches.items() for p in parameters
            if p in params
        }
        handles += _scale_updates_of(optimizer, mwam, branch)
    return handles


def _scale_updates_of(optimizer: Optimizer, mwam: MWAM,
                      branch: Dict[nn.Parameter, int]) -> List[Any]:
    before: List[Tensor] = []

    def keep(*_) -> None:
        before[:] = [p.detach().clone() for p in branch]

    @torch.no_grad()
    def scale(*_) -> None:
        # Not weight * K: at K = 1 this leaves every bit as it is.
        back = (1 - mwam.weights).unbind()
        for (p, i), old in zip(branch.items(), before):
            p.lerp_(old, back[i].to(p))
        before.clear()

    return [
        optimizer.register_step_pre_hook(keep),
        optimizer.register_step_post_hook(scale)
    ]
