"""Stock metrics that lose neither digits nor classes nor files."""
import os.path as osp
from collections import Counter
from itertools import repeat
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.utils import mkdir_or_exist

from mwam_mm.attributes import replaced_attribute
from mwam_mm.outputs import OutputNames

__all__ = ['evaluate_defined', 'keep_everything', 'values_per_class']

# CocoMetric's names of what COCOeval.stats holds, in its order.
_COCO_STATS = ('mAP', 'mAP_50', 'mAP_75', 'mAP_s', 'mAP_m', 'mAP_l',
               'AR@100', 'AR@300', 'AR@1000', 'AR_s@1000', 'AR_m@1000',
               'AR_l@1000')


def keep_everything(evaluator: Evaluator, dataset: Any) -> None:
    """Let the stock metrics of an evaluator keep what they would lose.

    - ``IoUMetric`` and ``CocoMetric`` no longer round, and have the values
      of each class ready for :func:`values_per_class`.
    - ``CocoMetric`` counts an object whose id is 0 in the ``ann_file``, and
      those without ``area`` or ``iscrowd`` there; those with ``ignore`` are
      ignored. Two images of one id are an error.
    - ``CocoMetric`` scores 0 where nothing was detected, in place of giving
      no metric, and counts the images that were predicted, of all in its
      ``ann_file``.
    - Label maps in ``output_dir`` keep the folders of their images.

    Metrics of other classes, and what subclasses of these add, stay as they
    are.

    Args:
        evaluator (Evaluator): The evaluator, whose metrics are changed in
            place.
        dataset (Dataset): The built dataset that is evaluated.
    """
    names = OutputNames(dataset)
    for metric in evaluator.metrics:
        parents = {parent.__name__ for parent in type(metric).__mro__}
        mixins = [
            mixin for mixin, applies in (
                (_KeepsFolders, getattr(metric, 'output_dir', None)),
                (_ExactIoU, 'IoUMetric' in parents),
                (_ExactCoco, 'CocoMetric' in parents),
            ) if applies and not isinstance(metric, mixin)
        ]
        if mixins:
            cls = type(metric)
            metric.__class__ = type(cls.__name__, (*mixins, cls), {})
        if isinstance(metric, _KeepsFolders):
            metric.output_names = names


def evaluate_defined(evaluator: Evaluator, size: int) -> Dict[str, Any]:
    """Evaluate, without the -1 that ``CocoMetric`` gives for no such truth.

    As a number it would spoil averages, such as that of large objects where
    the samples of one combination have none.

    Args:
        evaluator (Evaluator): One that :func:`keep_everything` has changed.
        size (int): Number of samples.

    Returns:
        dict: The metrics; such a one is NaN.
    """
    for metric in evaluator.metrics:
        if isinstance(metric, _ExactCoco):
            metric.no_truth = float('nan')
    return dict(evaluator.evaluate(size))


def values_per_class(
        evaluator: Evaluator) -> Dict[str, Dict[str, Optional[float]]]:
    """The values whose mean a metric is, after an evaluation.

    Args:
        evaluator (Evaluator): One that :func:`keep_everything` has changed.

    Returns:
        dict[str, dict[str, float | None]]: Metric to class to value, None
        where it is undefined. Empty on other ranks than the first.
    """
    values: Dict[str, Dict[str, Optional[float]]] = {}
    # mmdet's MultiDatasetsEvaluator has a metric for each dataset.
    datasets = getattr(evaluator, 'dataset_prefixes', repeat(None))
    for dataset, metric in zip(datasets, evaluator.metrics):
        if not isinstance(metric, (_ExactIoU, _ExactCoco)):
            continue  # other metrics may have any such attribute
        for name, by_class in getattr(metric, 'per_class', {}).items():
            parts = filter(None, (dataset, metric.prefix, name))
            values['/'.join(parts)] = by_class
    return values


def _by_class(classes: Sequence[str],
              values: Sequence[float]) -> Dict[str, Optional[float]]:
    return {
        str(name): float(value) if np.isfinite(value) else None
        for name, value in zip(classes, values)
    }


class _KeepsFolders(BaseMetric):
    """Mixed into metrics that write a file for each image."""

    output_names: OutputNames

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        folder = self.output_dir
        if folder is None:  # this copy is to write none
            super().process(data_batch, data_samples)
            return
        try:
            for sample in data_samples:
                path = sample['img_path']
                file = osp.join(folder, self.output_names(path))
                self.output_dir = osp.dirname(file)
                self.output_names.claim(osp.splitext(file)[0], path)
                mkdir_or_exist(self.output_dir)
                super().process(data_batch, [sample])
        finally:
            self.output_dir = folder


class _ExactIoU(BaseMetric):
    """Mixed into ``IoUMetric``, which rounds to 0.01 percent."""

    def total_area_to_metrics(self, *args, **kwargs) -> Dict[str, np.ndarray]:
        found = super().total_area_to_metrics(*args, **kwargs)
        self._found = dict(found)
        return found

    def compute_metrics(self, results: list) -> Dict[str, float]:
        self.per_class: Dict[str, Dict[str, Optional[float]]] = {}
        self._found: Dict[str, np.ndarray] = {}
        metrics = super().compute_metrics(results)
        for name, values in self._found.items():
            values = 100 * np.asarray(values, np.float64)
            key = name if name == 'aAcc' else f'm{name}'
            # A subclass may have made something else of it.
            if abs(metrics.get(key, np.nan) - np.nanmean(values)) < 0.006:
                metrics[key] = float(np.nanmean(values))
                if values.ndim:
                    self.per_class[key] = _by_class(
                        self.dataset_meta['classes'], values)
        return metrics


class _ExactCoco(BaseMetric):
    """Mixed into ``CocoMetric``, which rounds to 0.001, and gives no metric
    where not one object was detected."""

    # The value of a metric where there is no such truth.
    no_truth: float = -1.

    def compute_metrics(self, results: list) -> Dict[str, float]:
        return {
            key: self.no_truth if value == -1 else value
            for key, value in self._compute_any(results).items()
        }

    def _compute_any(self, results: list) -> Dict[str, float]:
        self.per_class: Dict[str, Dict[str, Optional[float]]] = {}
        metrics = self._compute_exactly(results)
        if metrics or self.format_only or any(
                len(prediction['labels']) for _, prediction in results):
            return metrics
        # A detection that overlaps nothing leaves every metric what it is
        # without any detection, and is not written to the file.
        with replaced_attribute(self, 'outfile_prefix', None):
            return self._compute_exactly(
                [self._with_detection(*results[0]), *results[1:]])

    def _compute_exactly(self, results: list) -> Dict[str, float]:
        from mmdet.evaluation.metrics import coco_metric
        evaluations: List[Any] = []
        # It would count all images of an `ann_file`, also those that lack what
        # is evaluated and were not predicted.
        self.img_ids = [prediction['img_id'] for _, prediction in results]
        twice = [i for i, n in Counter(self.img_ids).items() if n > 1]
        if twice:
            raise ValueError(
                f'several images have the id {twice[0]!r}, so CocoMetric '
                'would compare the boxes of one with those of another: where '
                'a dataset concatenates several json files, give all of their '
                'images different ids')
        # LVISMetric has another API.
        if getattr(self, '_coco_api', None) is not None:
            _complete(self._coco_api)

        class Recorded(coco_metric.COCOeval):

            def summarize(self, *args, **kwargs):
                evaluations.append(self)
                return super().summarize(*args, **kwargs)

        with replaced_attribute(coco_metric, 'COCOeval', Recorded):
            metrics = super().compute_metrics(results)
        for evaluation in evaluations:
            kind = evaluation.params.iouType
            for name, value in zip(_COCO_STATS, evaluation.stats):
                key = f'{kind}_{name}' if evaluation.params.useCats else name
                if abs(metrics.get(key, np.nan) - value) < 0.0006:
                    metrics[key] = float(value)
            if evaluation.params.useCats:
                self._keep_classes(evaluation, metrics)
        return metrics

    def _keep_classes(self, evaluation: Any, metrics: Dict[str, Any]) -> None:
        """COCOeval has the categories in the order of their ids, which need
        not be that of the json, in which mmdet takes them for the classes."""
        params, categories = evaluation.params, evaluation.cocoGt.cats
        # The mAP is of the 100 surest detections of an image.
        first = params.maxDets.index(100) if 100 in params.maxDets else -1
        precision = evaluation.eval['precision'][:, :, :, 0]
        values = {}
        for i, cat_id in enumerate(params.catIds):
            name = categories[cat_id]['name']
            values[name] = _average(precision[:, :, i, first])
            if f'{name}_precision' in metrics:  # with classwise=True
                metrics[f'{name}_precision'] = _average(
                    precision[:, :, i, -1])
        classes = [c for c in self.dataset_meta['classes'] if c in values]
        self.per_class[f'{params.iouType}_mAP'] = _by_class(
            classes, [values[name] for name in classes])

    @staticmethod
    def _with_detection(truth: dict, prediction: dict) -> Tuple[dict, dict]:
        """Add a box without area to an image's empty prediction."""
        added = dict(
            prediction,
            bboxes=np.zeros((1, 4), np.float32),
            scores=np.zeros(1, np.float32),
            labels=np.zeros(1, np.int64))
        if 'mask_scores' in prediction:
            added['mask_scores'] = added['scores']
        if 'masks' in prediction:
            from mmdet.structures.mask import encode_mask_results
            added['masks'] = encode_mask_results(
                np.zeros((1, truth['height'], truth['width']), bool))
        return truth, added


def _complete(coco: Any) -> None:
    """Let pycocotools count all annotations of a json.

    It takes a match with the id 0 for none, needs keys that the dataset does
    without, takes a negative area as it is, and goes by "iscrowd" where the
    dataset heeds "ignore", too.
    """
    for annotation in coco.anns.values():
        annotation['iscrowd'] = int(
            bool(annotation.get('iscrowd') or annotation.get('ignore')))
        if 'bbox' in annotation and (annotation.get('area') or 0) <= 0:
            annotation['area'] = annotation['bbox'][2] * annotation['bbox'][3]
    first = coco.anns.pop(0, None)
    if first is not None:
        first['id'] = max(coco.anns, default=0) + 1
        coco.anns[first['id']] = first


def _average(precision: np.ndarray) -> float:
    """Mean where there is truth, as -1 stands for none."""
    precision = precision[precision > -1]
    return float(precision.mean()) if precision.size else float('nan')
