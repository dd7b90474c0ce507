"""Subsets of the modalities: rows of a batch, each with some of its own.

The branches run once. Rows of what they gave are taken, and some modalities of
each row, as if the others had been absent. :class:`Host` runs the model's own
neck and heads on them.
"""
import copy
from typing import Any, Dict, Iterable, List, NamedTuple, Sequence

import torch
from mmengine.structures import BaseDataElement
from torch import Tensor

from mwam_mm.layout import ModalityLayout, Presence, to_device

from .backbones import BranchOutputs, map_levels

__all__ = [
    'Selection', 'own_labels', 'restrict', 'rows_with', 'select',
    'take_images', 'take_rows', 'times'
]


class Selection(NamedTuple):
    """Rows of a batch and the features that are left of them.

    Args:
        rows (list[int]): For each of the N selected rows, which of the B
            samples it is.
        outputs (BranchOutputs): Features, inputs and presence of the rows.
    """
    rows: List[int]
    outputs: BranchOutputs


def select(outputs: BranchOutputs, names: Sequence[str]) -> Selection:
    """The samples that have any of some modalities, with these only.

    Args:
        outputs (BranchOutputs): What the branches gave for B samples.
        names (Sequence[str]): The modalities that are there.

    Returns:
        Selection: Without rows if no sample has any of the modalities.

    Raises:
        ValueError: If ``names`` is empty or has an unknown modality.
    """
    unknown = set(names) - set(outputs.present)
    if unknown or not names:
        raise ValueError(f'the subset {list(names)} must name some of the '
                         f'modalities {list(outputs.present)}')
    rows = rows_with(outputs.present, names)
    present = {
        name: [name in names and flags[i] for i in rows]
        for name, flags in outputs.present.items()
    }
    return Selection(rows, restrict(outputs, rows, present))


def rows_with(present: Presence, names: Iterable[str]) -> List[int]:
    """Which samples have any of some modalities.

    Args:
        present (dict[str, list[bool]]): Modality to whether each of the B
            samples has it.
        names (Iterable[str]): The modalities.

    Returns:
        list[int]: The samples' places in the batch.
    """
    flags = zip(*(present[name] for name in names))
    return [i for i, has in enumerate(flags) if any(has)]


def take_rows(x: Tensor, rows: List[int]) -> Tensor:
    """Some samples of a batch, without waiting for a device.

    Args:
        x (Tensor): Shape (B, ...).
        rows (list[int]): Which samples, each any number of times.

    Returns:
        Tensor: Shape (N, ...); ``x`` itself if it is just that, a view of
        it if the samples follow each other.
    """
    first = rows[0] if rows else 0
    if rows == list(range(first, first + len(rows))):
        return x if len(rows) == len(x) else x[first:first + len(rows)]
    return x.index_select(0, to_device(rows, x, torch.long))


def take_images(layout: ModalityLayout, inputs: Tensor, rows: List[int],
                present: Presence) -> Tensor:
    """The images of some rows, for what looks at them besides the backbone.

    Args:
        layout (ModalityLayout): The layout.
        inputs (Tensor): What the model was called with: the stacked tensor of
            shape (B, C, H, W), or something else that it stacks by itself.
        rows (list[int]): For each of N rows, which sample it is.
        present (dict[str, list[bool]]): Which modalities each of the N rows
            keeps.

    Returns:
        Tensor: Of N samples; of a stacked tensor 0 where a row lacks the
        modality.
    """
    taken = take_rows(inputs, rows)
    if taken.ndim != 4 or taken.size(1) != layout.num_channels:
        return taken
    return layout.masked(taken, present)


def restrict(outputs: BranchOutputs, rows: List[int],
             present: Presence) -> BranchOutputs:
    """Rows of a batch, each with modalities of its own.

    Args:
        outputs (BranchOutputs): What the branches gave for B samples.
        rows (list[int]): For each of N rows, which sample it is.
        present (dict[str, list[bool]]): Modality to whether each of the N
            rows keeps it; of a modality that the sample lacks, False.

    Returns:
        BranchOutputs: Those of the rows.
    """
    some = next(iter(outputs.inputs.values()))
    features = {}
    for name, f in outputs.features.items():
        if f is None or not any(present[name]):
            features[name] = None
            continue
        kept = None
        if [outputs.present[name][i] for i in rows] != present[name]:
            kept = to_device(present[name], some)
        features[name] = map_levels(
            lambda x: _mask(take_rows(x, rows), kept), f)
    inputs = {n: take_rows(x, rows) for n, x in outputs.inputs.items()}
    return BranchOutputs(features, inputs, present)


def _mask(x: Tensor, kept: Any) -> Tensor:
    if kept is None:
        return x
    kept = kept.view(-1, *[1] * (x.ndim - 1))
    return torch.where(kept, x, x.new_zeros(()))


def own_labels(data_samples: Sequence[Any]) -> List[Any]:
    """Copies of data samples that share all values.

    A head may replace the labels of a sample by what it makes of them, as
    RTMDet's does with masks. Then only the copy has changed, and the sample
    serves for other losses.

    Args:
        data_samples (Sequence): The samples. What is none of MMEngine's is
            handed on as it is.

    Returns:
        list: One copy for each.
    """

    def copied(x: Any) -> Any:
        if not isinstance(x, BaseDataElement):
            return x
        own = copy.copy(x)
        for key, value in vars(x).items():
            # Values may be nested elements, or the set of the fields' names.
            vars(own)[key] = set(value) if isinstance(value, set) else copied(
                value)
        return own

    return [copied(sample) for sample in data_samples]


def times(weight: Any,
          losses: Dict[str, Any],
          only_losses: bool = False,
          prefix: str = '') -> Dict[str, Any]:
    """Losses multiplied by a weight.

    Args:
        weight (float | Tensor): The weight, 0-d.
        losses (dict[str, Any]): As a model's ``loss`` returns.
        only_losses (bool): Whether to leave out other values, which stay as
            they are otherwise. Defaults to False.
        prefix (str): What their names begin with in the log. Defaults to ''.
    """
    return {
        prefix + key: map_levels(lambda x: weight * x, value)
        if 'loss' in key else value  # as MMEngine decides what is one
        for key, value in losses.items() if 'loss' in key or not only_losses
    }
