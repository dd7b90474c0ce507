"""What every run is checked for, whatever the interventions."""
from typing import Sequence

from mwam_mm.layout import check_layouts
from mwam_mm.models.modality_heads import ModalityHeads

from .interventions import Context, Intervention

__all__ = ['check_run']


def check_run(context: Context, acting: Sequence[Intervention]) -> None:
    """Refuse a run in which something would be trained wrongly.

    Args:
        context (Context): The run.
        acting (Sequence[Intervention]): Its interventions.

    Raises:
        ValueError: If the parts of the model have different layouts, what
            the images enter is recomputed, or nobody trains the heads of the
            modalities.
    """
    check_layouts(context.model)
    _check_recomputed(context)
    _check_heads(context)
    _warn_of_frozen(context, acting)


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


def _warn_of_frozen(context: Context,
                    acting: Sequence[Intervention]) -> None:
    names = [name for name, intervention in zip(context.interventions, acting)
             if intervention.scales_branches]
    for modality, branch in context.probe.branches.items():
        if names and branch and not any(p.requires_grad for p in branch):
            context.logger.warning(
                f'The branch of modality "{modality}" is frozen: its weight K '
                f'acts on nothing by {names}.')
