"""What hooks get of a batch that is predicted for several combinations."""
from typing import Dict, List, Sequence

from mmengine.structures import BaseDataElement

from mwam_mm.layout import combination_name

from .combinations import Combination

__all__ = ['HookOutputs']


class HookOutputs:
    """Collects the predictions of a batch for hooks.

    Hooks get the predictions from the most complete combination. Each has
    those from all as ``combinations``, a dict from name to sample, which
    visualizers draw side by side.
    """

    def __init__(self) -> None:
        self._first: Dict[int, BaseDataElement] = {}
        self._all: Dict[int, Dict[str, BaseDataElement]] = {}

    def add(self, combination: Combination,
            predictions: Dict[int, BaseDataElement]) -> None:
        """Take in the predictions from one combination.

        Args:
            combination (tuple[str]): The combination, the most complete one
                first.
            predictions (dict[int, BaseDataElement]): Index in the batch to
                prediction.
        """
        for i, sample in predictions.items():
            self._first.setdefault(i, sample)
            # Annotations and logits are large and are left out.
            self._all.setdefault(i, {})[combination_name(
                combination)] = sample.new(
                    **{
                        name: value
                        for name, value in sample.items()
                        if name.startswith('pred_')
                    })

    def get(self, samples: Sequence[BaseDataElement]) -> List[BaseDataElement]:
        """The outputs for hooks.

        Args:
            samples (Sequence[BaseDataElement]): The samples of the batch,
                which stand for themselves where nothing was predicted.

        Returns:
            list[BaseDataElement]: One output per sample.
        """
        for i, sample in self._first.items():
            sample.combinations = self._all[i]
        return [self._first.get(i, s) for i, s in enumerate(samples)]
