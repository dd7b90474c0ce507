"""What every run is checked for, whatever the interventions."""
from typing import Any, Mapping, Sequence

from mwam_mm.layout import check_layouts
from mwam_mm.models.modality_heads import ModalityHeads

from .interventions import Context, Intervention
from .probes import NeckProbe, Probe

__all__ = ['check_order', 'check_run']


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


def check_order(probe: Probe, state: Mapping[str, Any]) -> None:
    """Refuse to resume a run of an earlier version whose modalities had
    another order, which was that of the config.

    Args:
        probe (Probe): Knows the modalities.
        state (Mapping[str, Any]): What the checkpoint holds of the weigher,
            maybe with ``modalities``.

    Raises:
        ValueError: If they are the same in another order, where this tells
            the order of the branches.
    """
    saved = list(state.get('modalities', probe.modalities))
    names = list(probe.modalities)
    if (isinstance(probe, NeckProbe) and saved != names
            and sorted(saved) == sorted(names)):
        raise ValueError(
            f'the checkpoint has the modalities in the order {saved}, the '
            f"model in the order {names}. The optimizer's state goes by the "
            'order of the parameters and would act on the wrong branches; '
            'the weights of the model go by name: start with them by '
            'load_from instead of resume')


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
