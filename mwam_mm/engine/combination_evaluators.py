"""The evaluators of the combinations of modalities."""
import copy
import inspect
import os.path as osp
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

import torch
from mmengine.dist import all_reduce
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.structures import BaseDataElement
from mmengine.utils import mkdir_or_exist

from mwam_mm.config import first_metainfo, parameter_of
from mwam_mm.evaluation.stock_metrics import (
    evaluate_defined,
    keep_everything,
)
from mwam_mm.layout import combination_name

from .combinations import Combination

__all__ = ['CombinationEvaluators']

# Metrics have these attributes for the places where they write files.
_FILES = ('output_dir', 'outfile_prefix', 'out_file_path')
# These stand for the range of the labels of a detector that found nothing, and
# of one that found something.
_NOTHING, _VARIES = (-1, -1), (0, 1)
# The range before any prediction, which leaves minima and maxima as they are.
_UNSEEN = (torch.iinfo(torch.long).max, torch.iinfo(torch.long).min)


class CombinationEvaluators:
    """One evaluator for each combination, which differ in their samples.

    PCR compares a combination with the complete one. As soon as a sample has
    nothing of a combination, a further evaluator takes in the predictions of
    the complete combination of those samples only that both have.

    Args:
        evaluator (Evaluator): The evaluator, which stays as it is.
        dataset (Dataset): The dataset that is evaluated.
        combinations (Sequence[tuple[str]]): The combinations, and the names
            of sensor faults as tuples.
        full (tuple[str]): The complete combination.

    Attributes:
        evaluators (dict[tuple[str], Evaluator]): Of each combination. Files
            that its metrics write go to a folder named after it.
    """

    def __init__(self, evaluator: Evaluator, dataset: Any,
                 combinations: Sequence[Combination],
                 full: Combination) -> None:
        self.full = full
        self.evaluators: Dict[Combination, Evaluator] = {}
        for combination in combinations:
            copied = copy.deepcopy(evaluator, _shared(evaluator))
            keep_everything(copied, dataset)
            _move_files(copied, combination_name(combination))
            self.evaluators[combination] = copied
        self._on_same: Dict[Combination, Evaluator] = {}
        self._counts = dict.fromkeys(self.evaluators, 0)
        self._ranges = dict.fromkeys(self.evaluators, _UNSEEN)

    def expect(self, present: Mapping[int, Combination]) -> None:
        """Announce a batch before any of it is processed.

        Args:
            present (dict[int, tuple[str]]): Index of each sample that counts
                to the modalities that it has.

        Raises:
            TypeError: If a combination lacks a sample and the evaluator tells
                datasets apart by the places of their samples.
        """
        self._present = present
        for combination in self.evaluators:
            # A sensor fault counts the samples of the complete combination.
            if not set(combination) <= set(self.full):
                continue
            if all(
                    set(names) & set(combination)
                    for names in present.values() if names):
                continue
            evaluator = self.evaluators[combination]
            if hasattr(evaluator, 'dataset_prefixes'):
                raise TypeError(
                    f'a sample has nothing of "{combination_name(combination)}'
                    f'" and is left out of it, but {type(evaluator).__name__} '
                    'would take those after it for samples of another '
                    'dataset: evaluate each dataset in a run of its own')
            if self.full in self.evaluators:
                self._separate(combination)

    def _separate(self, combination: Combination) -> None:
        """From now on, the complete combination counts other samples."""
        if combination in self._on_same:
            return
        evaluator = copy.copy(self.evaluators[self.full])
        evaluator.metrics = copy.deepcopy(
            [m for m in evaluator.metrics if not _needs_files(m)],
            _shared(evaluator))
        for metric in evaluator.metrics:
            for key in _FILES:
                if hasattr(metric, key):
                    setattr(metric, key, None)
        self._on_same[combination] = evaluator

    def process(self, combination: Combination,
                predictions: Mapping[int, BaseDataElement],
                data_batch: Mapping[str, Sequence]) -> None:
        """Take in predictions of the batch that was announced.

        Args:
            combination (tuple[str]): The combination.
            predictions (dict[int, BaseDataElement]): Index in the batch to
                prediction.
            data_batch (dict): The batch as the dataloader collates it.
        """
        _process(self.evaluators[combination], predictions, data_batch)
        self._counts[combination] += len(predictions)
        low, high = self._ranges[combination]
        if low >= high:  # else they vary already
            lows, highs = zip((low, high), *map(_range, predictions.values()))
            self._ranges[combination] = min(lows), max(highs)
        if combination != self.full:
            return
        for other, evaluator in self._on_same.items():
            _process(
                evaluator, {
                    i: prediction
                    for i, prediction in predictions.items()
                    if set(self._present[i]) & set(other)
                }, data_batch)

    def count(self) -> Dict[Combination, int]:
        """Count the samples over all ranks, before anything is evaluated.

        Returns:
            dict[tuple[str], int]: Combination to number of samples.
        """
        counts, separate = (
            torch.tensor([int(by_name.get(c, 0)) for c in self.evaluators])
            for by_name in (self._counts, dict.fromkeys(self._on_same, 1)))
        all_reduce(counts)
        all_reduce(separate)
        for combination, ranks in zip(self.evaluators, separate.tolist()):
            if ranks:  # another rank may have left out a sample
                self._separate(combination)
        return dict(zip(self._counts, counts.tolist()))

    def evaluate_full_on_same(
            self,
            counts: Mapping[Combination, int]) -> Dict[str, Dict[str, Any]]:
        """Evaluate the complete combination where others have fewer samples.

        Args:
            counts (dict[tuple[str], int]): What :meth:`count` returns.

        Returns:
            dict[str, dict]: Name of each combination that has fewer samples,
            but some, to the metrics of the complete one on those.
        """
        return {
            combination_name(c): evaluate_defined(self._on_same[c], counts[c])
            for c in self.evaluators if c in self._on_same and counts[c]
        }

    def constant_predictions(self) -> Dict[str, str]:
        """Find the combinations of which one and the same was predicted.

        Returns:
            dict[str, str]: Name of each combination that has but one label
            in all pixels of all samples, to that class; for a detector that
            has found nothing, to ``'nothing'``.
        """
        lows, highs = map(torch.tensor, zip(*self._ranges.values()))
        all_reduce(lows, 'min')
        all_reduce(highs, 'max')
        constants = {}
        for combination, low, high in zip(self.evaluators, lows.tolist(),
                                          highs.tolist()):
            if low == high:
                meta = first_metainfo(
                    self.evaluators[combination].dataset_meta)
                classes = dict(enumerate(meta.get('classes') or ()))
                constants[combination_name(combination)] = (
                    'nothing' if (low, high) == _NOTHING else str(
                        classes.get(low, low)))
        return constants


def _shared(evaluator: Evaluator) -> Dict[int, Any]:
    """What copies of an evaluator have in common: the large ``ann_file``."""
    annotations = (getattr(metric, '_coco_api', None)
                   for metric in evaluator.metrics)
    return {id(coco): coco for coco in annotations if coco is not None}


def _process(evaluator: Evaluator, predictions: Mapping[int, BaseDataElement],
             data_batch: Mapping[str, Sequence]) -> None:
    if predictions:
        evaluator.process(
            data_samples=list(predictions.values()),
            data_batch={
                key: [values[i] for i in predictions]
                for key, values in data_batch.items()
            })


def _needs_files(metric: BaseMetric) -> bool:
    """Whether a metric only writes files, or judges those that it writes."""
    return getattr(metric, 'format_only', False) or any(
        getattr(metric, key, None) is not None
        and not _is_optional(type(metric), key) for key in _FILES)


def _is_optional(cls: type, path: str) -> bool:
    """Whether a metric can do without a path, as its arguments tell."""
    defaults = [
        parameter.default
        for parameter in (parameter_of(base, path) for base in cls.__mro__)
        if parameter is not None]
    # A subclass may have a path of its own where its base needs none.
    return None in defaults and defaults[0] is not inspect.Parameter.empty


def _move_files(evaluator: Evaluator, name: str) -> None:
    """Give the files of an evaluator a folder of their own."""
    for metric in evaluator.metrics:
        for key in _FILES:
            path = getattr(metric, key, None)
            if path is None:
                continue
            is_folder = key == 'output_dir'
            folder, file = (path, '') if is_folder else osp.split(path)
            mkdir_or_exist(osp.join(folder, name))
            setattr(metric, key, osp.join(folder, name, file))


def _range(prediction: BaseDataElement) -> Tuple[int, int]:
    """Lowest and highest label of a prediction."""
    labels: Optional[torch.Tensor] = None
    if 'pred_sem_seg' in prediction:
        labels = prediction.pred_sem_seg.data
    elif 'pred_label' in prediction:
        labels = prediction.pred_label
    elif 'pred_instances' in prediction:
        return _VARIES if len(prediction.pred_instances) else _NOTHING
    if labels is None or not labels.numel():
        return _VARIES
    ends: List[int] = torch.stack([labels.min(), labels.max()]).tolist()
    return int(ends[0]), int(ends[1])
