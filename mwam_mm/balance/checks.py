"""What every run is checked for, whatever the interventions."""
from typing import Any, Iterable, Mapping, Sequence

from torch import Tensor

from mwam_mm.consistency import check_runner
from mwam_mm.models.modality_heads import ModalityHeads

from .interventions import Context, Intervention
from .weighers import Weigher

__all__ = [
    'check_alone', 'check_finite', 'check_run', 'checked_weights'
]


def check_run(context: Context, weigher: Weigher,
              interventions: Mapping[str, Intervention]) -> None:
    """Refuse a run in which something would be trained wrongly.

    Args:
        context (Context): The run.
        weigher (Weigher): Its weigher.
        interventions (Mapping[str, Intervention]): Its interventions by name.

    Raises:
        ValueError: If data and model do not fit each other, what the images
            enter is recomputed, nobody trains the heads of the modalities, or
            the weigher goes by validations and there are none, or gives
            probabilities and the interventions take factors.
    """
    check_runner(context.runner)
    _check_validated(context, weigher)
    _check_recomputed(context)
    _check_heads(context)
    _check_probabilities(context, weigher)
    _warn_of_frozen(context, interventions)
    if len(context.modalities) == 1:
        context.logger.warning(
            f'The only modality is "{context.modalities[0]}", which '
            f'{type(weigher).__name__} weighs against no other: its weight K '
            'is only a constant factor. Leave out the hook, or name the other '
            'modalities.')


def check_alone(hooks: Iterable[Any], kind: type) -> None:
    """Refuse a second hook that weights the same branches.

    Args:
        hooks (Iterable[Hook]): All hooks of the runner.
        kind (type): The class of the hooks that weight branches.

    Raises:
        ValueError: If there is another one.
    """
    names = [type(h).__name__ for h in hooks if isinstance(h, kind)]
    if len(names) > 1:
        raise ValueError(
            f'custom_hooks has {names}, each of which would weight the '
            'branches, so that K acts twice: keep one and name all '
            'interventions in it')


def checked_weights(weigher: Weigher, modalities: Sequence[str]) -> Tensor:
    """K of a weigher's :meth:`Weigher.step`, by itself.

    The values are not looked at, which would make the host wait, see
    :func:`check_finite`.

    Args:
        weigher (Weigher): Has observed the forward.
        modalities (Sequence[str]): The M modalities' names.

    Returns:
        Tensor: K of shape (M,). No gradient goes through it.

    Raises:
        TypeError: If it is no tensor.
        ValueError: If it is of another shape, as a number for all modalities
            is, which would be taken for each.
    """
    weights = weigher.step()
    where, count = f'{type(weigher).__name__}.step', len(modalities)
    if not isinstance(weights, Tensor):
        raise TypeError(
            f'{where} must return a tensor of shape ({count},), a weight for '
            f'each of {list(modalities)}, but gave '
            f'{type(weights).__name__}: use torch.stack or torch.tensor')
    if weights.shape != (count, ):
        raise ValueError(
            f'{where} must return one weight for each of '
            f'{list(modalities)}, shape ({count},), but gave shape '
            f'{tuple(weights.shape)}')
    return weights.detach()


def check_finite(weigher: Weigher, modalities: Sequence[str],
                 weights: Tensor) -> None:
    """Refuse weights that would destroy the parameters.

    Args:
        weigher (Weigher): Gave them.
        modalities (Sequence[str]): The M modalities' names.
        weights (Tensor): K of shape (M,).

    Raises:
        ValueError: If one is negative or not finite.
    """
    wrong = {
        name: k
        for name, k in zip(modalities, weights.tolist())
        if not 0 <= k < float('inf')
    }
    if wrong:
        raise ValueError(
            f'{type(weigher).__name__}.step must give weights that are finite '
            f'and not negative, but gave {wrong}')


def _check_validated(context: Context, weigher: Weigher) -> None:
    if type(weigher).observe_metrics is not Weigher.observe_metrics and \
            context.runner.val_loop is None:
        raise ValueError(
            f'{type(weigher).__name__} goes by validations, but there are '
            'none: set val_dataloader, val_evaluator and '
            "val_cfg=dict(type='mwam_mm.MissingModalityValLoop')")


def _check_recomputed(context: Context) -> None:
    """MMEngine's activation checkpointing is of the reentrant kind: a module
    whose arguments need no gradient, as an image does not, is not trained at
    all."""
    paths = context.runner.cfg.get('activation_checkpointing') or []
    for path in [paths] if isinstance(paths, str) else paths:
        module = context.model.get_submodule(path)
        if context.probe.entrances().intersection(module.modules()):
            raise ValueError(
                f'activation_checkpointing names "{path}", which would '
                'keep what the image enters from being trained, or count '
                'a batch twice in MWAMNeck: name modules inside the '
                'branches, such as "backbone.branches.rgb.layer1"')


def _check_heads(context: Context) -> None:
    heads = getattr(context.model, 'modality_heads', None)
    if isinstance(heads, ModalityHeads) and \
            'loss' not in context.interventions:
        raise ValueError(
            'the model has heads for each modality, which '
            f'{context.where}={list(context.interventions)} does not train: '
            'add "loss", or build the model without with_modality_heads')


def _check_probabilities(context: Context, weigher: Weigher) -> None:
    if weigher.probabilities and set(context.interventions) != {'dropout'}:
        raise ValueError(
            f'{type(weigher).__name__} gives the probability that a sample '
            f'keeps a modality, which {context.where}='
            f'{list(context.interventions)} would take for a factor: set it '
            "to dict(type='dropout', draw='each')")


def _warn_of_frozen(context: Context,
                    interventions: Mapping[str, Intervention]) -> None:
    names = [name for name, intervention in interventions.items()
             if intervention.scales_branches]
    for modality, branch in context.probe.branches.items():
        if names and branch and not any(p.requires_grad for p in branch):
            context.logger.warning(
                f'The branch of modality "{modality}" is frozen: its weight K '
                f'acts on nothing by {names}.')
