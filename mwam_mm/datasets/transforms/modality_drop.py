"""Dropping of modalities in training and at test time."""
from itertools import combinations
from typing import (
    AbstractSet,
    Dict,
    List,
    Mapping,
    Optional,
    Sequence,
    Tuple,
    Union,
)

import numpy as np
from mmcv.transforms import BaseTransform
from mmcv.transforms.utils import cache_randomness
from mmengine.structures import BaseDataElement

from mwam_mm.layout import ModalityLayout, combination_name, in_order
from mwam_mm.registry import TRANSFORMS

__all__ = ['DropModality', 'RandomDropModality']


def _names(modalities: Union[Mapping, Sequence[str]]) -> Tuple[str, ...]:
    if isinstance(modalities, str) or not modalities:
        raise ValueError('modalities must be a non-empty list of names or '
                         f'the layout, but got {modalities!r}')
    return in_order(modalities)


class _AfterPacking(BaseTransform):
    """Base of transforms that name absent modalities in the data sample."""

    def _samples(self, results: dict) -> List[BaseDataElement]:
        if 'data_samples' not in results:
            raise ValueError(
                f'{type(self).__name__} stands before the packing. Move it '
                'to the end of the pipeline, after PackSegInputs or '
                'PackDetInputs')
        samples = results['data_samples']
        # TestTimeAug gives a list, one sample per augmentation.
        return samples if isinstance(samples, list) else [samples]

    @staticmethod
    def _absent(sample: BaseDataElement) -> Tuple[str, ...]:
        return tuple(sample.metainfo.get('absent_modalities', ()))

    def _drop(self,
              sample: BaseDataElement,
              names: Sequence[str],
              at_random: bool = False) -> None:
        absent = self._absent(sample)
        new = tuple(name for name in names if name not in absent)
        metainfo = dict(absent_modalities=absent + new)
        dropped = tuple(sample.metainfo.get('dropped_modalities', ()))
        if at_random:
            metainfo['dropped_modalities'] = dropped + new
        elif dropped:  # what is meant to be absent is not taken back
            metainfo['dropped_modalities'] = tuple(
                name for name in dropped if name not in names)
        sample.set_metainfo(metainfo)


@TRANSFORMS.register_module()
class DropModality(_AfterPacking):
    """Declare modalities absent, to test without them.

    Stands after ``PackSegInputs`` or ``PackDetInputs``. The data preprocessor
    sets the channels of absent modalities to 0 after normalisation; it also
    refuses unknown names and a sample without any modality left.

    Required Keys:

    - data_samples

    Modified Keys:

    - data_samples (``metainfo['absent_modalities']``)

    Args:
        modalities (Sequence[str]): Names of the modalities to drop.

    Raises:
        ValueError: If ``modalities`` is empty or a single string, or the
            sample is not packed yet.

    Examples:
        >>> test_pipeline = [
        ...     dict(type='mwam_mm.LoadModalities', modalities=modalities),
        ...     dict(type='PackSegInputs'),
        ...     dict(type='mwam_mm.DropModality', modalities=['depth'])
        ... ]
    """

    def __init__(self, modalities: Sequence[str]) -> None:
        self.modalities = _names(modalities)

    def transform(self, results: dict) -> dict:
        """Add the modalities to ``absent_modalities``.

        Args:
            results (dict): The packed sample.

        Returns:
            dict: The sample.
        """
        for sample in self._samples(results):
            self._drop(sample, self.modalities)
        return results

    def __repr__(self) -> str:
        return (f'{self.__class__.__name__}('
                f'modalities={list(self.modalities)})')


@TRANSFORMS.register_module()
class RandomDropModality(_AfterPacking):
    """Keep a random combination of the sample's modalities ("-MD" training).

    The combination is drawn among all non-empty ones that the modalities
    present in the sample allow, by default with equal probability. Given the
    layout, one that holds nothing but means, as a depth map without a single
    valid pixel does, is drawn anew: such a sample would be empty. Given the
    names, which say nothing of the means, the data preprocessor takes the
    dropped modalities of such a sample back. Stands after ``PackSegInputs``
    or ``PackDetInputs``.

    Required Keys:

    - data_samples
    - inputs (if the layout is given)

    Modified Keys:

    - data_samples (``metainfo['absent_modalities']``, and what of it was
      drawn as ``metainfo['dropped_modalities']``)

    Args:
        modalities (Mapping | Sequence[str]): The layout or its names.
        weights (dict[str, float], optional): Combination, its names joined
            by '+' in any order, to its non-negative weight; combinations not
            named are never drawn. The weights of the combinations that a
            sample allows are normalised to 1. Defaults to None, equal
            weights.

    Raises:
        ValueError: If ``weights`` names an unknown combination, holds a
            negative or not finite weight or no positive one; if the sample
            is not packed yet, or no weighted combination is left for it.

    Examples:
        >>> # RGB, the neglected modality, alone more often than depth.
        >>> dict(
        ...     type='mwam_mm.RandomDropModality',
        ...     modalities=['rgb', 'depth'],
        ...     weights={'rgb+depth': 2, 'rgb': 3, 'depth': 1})
    """

    def __init__(self,
                 modalities: Union[Mapping, Sequence[str]],
                 weights: Optional[Dict[str, float]] = None) -> None:
        self.modalities = _names(modalities)
        self._layout = (
            ModalityLayout(modalities)
            if isinstance(modalities, Mapping) else None)
        known = {
            frozenset(names): combination_name(names)
            for size in range(len(self.modalities), 0, -1)
            for names in combinations(self.modalities, size)
        }
        if weights is None:
            weights = {name: 1. for name in known.values()}
        names_of = {name: frozenset(name.split('+')) for name in weights}
        unknown = [
            name for name, names in names_of.items()
            if names not in known or name.count('+') >= len(names)
        ]
        if unknown:
            raise ValueError(f'weights names the combinations {unknown}; '
                             f'known are {list(known.values())}')
        if len(set(names_of.values())) < len(weights):
            raise ValueError('weights names a combination twice: '
                             f'{list(weights)}')
        wrong = {
            name: weight
            for name, weight in weights.items()
            if not 0 <= weight < float('inf')
        }
        if wrong:
            raise ValueError('weights must be finite and not negative, but '
                             f'got {wrong}')
        # What is drawn must not depend on the order of a dict.
        order = list(known)
        self.weights = {
            name: float(weights[name])
            for name in sorted(weights, key=lambda n: order.index(names_of[n]))
            if weights[name] > 0
        }
        if not self.weights:
            raise ValueError('weights has no positive entry: one combination '
                             'at least must be drawn')
        self._combinations = {name: names_of[name] for name in self.weights}

    @cache_randomness
    def _random_combination(self, names: Sequence[str]) -> str:
        """Draw one of the named combinations by its weight."""
        weights = np.array([self.weights[name] for name in names])
        return names[np.random.choice(len(names), p=weights / weights.sum())]

    def transform(self, results: dict) -> dict:
        """Draw what to keep and add the rest to ``absent_modalities``.

        Args:
            results (dict): The packed sample.

        Returns:
            dict: The sample.
        """
        samples = self._samples(results)
        absent = self._absent(samples[0])
        possible = [
            name for name, names in self._combinations.items()
            if not names & set(absent)
        ]
        if not possible:
            raise ValueError(
                f'sample {samples[0].metainfo.get("img_path")!r} lacks '
                f'{list(absent)}, and weights={self.weights} has no '
                'combination of the other modalities')
        keep = self._combinations[self._random_combination(possible)]
        if self._is_blank(results, keep):
            possible = [
                name for name in possible
                if not self._is_blank(results, self._combinations[name])
            ]
            if possible:  # else the model refuses the sample
                keep = self._combinations[self._random_combination(possible)]
        for sample in samples:
            self._drop(
                sample, [n for n in self.modalities if n not in keep],
                at_random=True)
        return results

    def _is_blank(self, results: dict, names: AbstractSet[str]) -> bool:
        """Whether the modalities hold nothing but their mean, if known."""
        return (self._layout is not None
                and self._layout.is_blank(results['inputs'], names))

    def __repr__(self) -> str:
        return (f'{self.__class__.__name__}('
                f'modalities={list(self.modalities)}, '
                f'weights={self.weights})')
