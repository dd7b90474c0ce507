"""The losses of each modality alone, through the model's own heads."""
from typing import Any, Dict, Iterator, NamedTuple

from mmengine.dist import get_world_size
from torch import Tensor

from mwam_mm.models.backbones import BranchOutputs, map_levels
from mwam_mm.models.subsets import Host, Selection, join, select

from ..signal import Signal
from .base import Context

__all__ = ['Alone', 'check_host', 'each_alone', 'scaled']


class Alone(NamedTuple):
    """A modality alone.

    Args:
        name (str): The modality.
        selection (Selection): The samples that have it. Where none has it,
            but other ranks have to be met, others.
        counts (bool): Whether any sample has it.
        losses (dict[str, Any]): As the model's ``loss`` returns, with
            gradient.
    """
    name: str
    selection: Selection
    counts: bool
    losses: Dict[str, Any]


def check_host(context: Context, name: str) -> None:
    """Refuse a model whose heads cannot run on features that are there.

    Args:
        context (Context): The run.
        name (str): The name of the intervention.

    Raises:
        ValueError: If it is such a model.
    """
    if context.probe.host is None:
        raise ValueError(
            f'{context.where} "{name}" needs the features of each modality: '
            'build the model with one mwam_mm.MultiModalBackbone and an '
            'mwam_mm.MWAMNeck, and leave out branches')
    if context.runner.cfg.get('compile'):
        raise ValueError(f'{context.where} "{name}" runs the heads in ways '
                         'that torch.compile does not follow: set '
                         'compile=False in the config')


def each_alone(signal: Signal, outputs: BranchOutputs) -> Iterator[Alone]:
    """Run neck and heads on each modality alone, in training.

    Every rank runs them equally often.

    Args:
        signal (Signal): The forward.
        outputs (BranchOutputs): What the branches gave.

    Yields:
        Alone: Of each modality that a sample has; on several ranks, of all.
    """
    host: Host = signal.host
    for name in signal.modalities:
        selection = select(outputs, [name])
        counts = bool(selection.rows)
        if not counts:
            if get_world_size() == 1:
                continue
            selection = select(outputs, signal.modalities)
        elif len(selection.rows) == 1 < len(outputs.present[name]):
            # The same loss, but BatchNorm on pooled features of one pixel
            # refuses a single sample.
            selection = join(outputs, [[name], [name]])[0]
        yield Alone(
            name, selection, counts,
            host.losses(selection, signal.arguments['inputs'],
                        signal.arguments['data_samples']))


def scaled(losses: Dict[str, Any], prefix: str,
           weight: Any) -> Dict[str, Any]:
    """Losses times a weight, without what is only logged.

    Args:
        losses (dict[str, Any]): As a model's ``loss`` returns.
        prefix (str): What the names begin with then, before a dot.
        weight (float | Tensor): The weight, 0-d.
    """

    def scale(x: Tensor) -> Tensor:
        return weight * x

    return {
        f'{prefix}.{key}': map_levels(scale, value)
        for key, value in losses.items() if 'loss' in key
    }
