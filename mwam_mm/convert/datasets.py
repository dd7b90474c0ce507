"""The dataset of a job: modalities, labels, classes and evaluators."""
import os.path as osp
from typing import Any, Dict, List, Optional, Sequence

from mmengine.config import Config
from mmengine.registry import DATASETS

import mwam_mm
from mwam_mm.config import leaf_datasets, type_name

from .bases import load_config, scope_of
from .pipeline import loads_annotations

__all__ = [
    'annotations_of', 'choose_modalities', 'evaluator_like', 'load_dataset',
    'loading_of', 'main_metric', 'num_classes_of'
]

# The embedded scene set, by the base's default scope.
_SCENES = dict(
    mmseg='scenes_rgbdt_seg.py',
    mmdet='scenes_rgbdt_det.py',
    mmpretrain='scenes_rgbdt_cls.py')


def load_dataset(path: Optional[str], base: Config) -> Config:
    """The config of a multimodal dataset.

    Args:
        path (str, optional): The file. None takes the embedded scene set.
        base (Config): The stock config, whose task the scenes are for.

    Raises:
        ValueError: If the file does not exist.
    """
    if path is None:
        package = osp.dirname(osp.abspath(mwam_mm.__file__))
        # Where setup.py puts the configs; in a checkout they are beside it.
        folder = osp.join(package, '.mim', 'configs')
        if not osp.isdir(folder):
            folder = osp.join(osp.dirname(package), 'configs')
        path = osp.join(folder, '_base_', 'datasets',
                        _SCENES.get(scope_of(base), _SCENES['mmseg']))
    return load_config(path)


def choose_modalities(specs: Sequence[str],
                      dataset: Config) -> Dict[str, dict]:
    """The layout for ``NAME:CHANNELS`` arguments.

    Args:
        specs (Sequence[str]): The arguments, e.g. ``['rgb:3', 'depth:1']``.
        dataset (Config): Config of the dataset.

    Returns:
        dict[str, dict]: The dataset's modalities of these names, in the order
        of the arguments.

    Raises:
        ValueError: If an argument does not fit the dataset.
    """
    for key in ('modalities', 'train_dataloader', 'val_dataloader',
                'test_dataloader', 'val_evaluator', 'test_evaluator'):
        if not dataset.get(key):
            raise ValueError(f'{dataset.filename} has no `{key}`: name the '
                             'config file of a multimodal dataset')
    known = dataset.modalities
    chosen = {}
    for spec in specs:
        name, _, channels = spec.partition(':')
        if name not in known:
            raise ValueError(f'--modalities {spec}: {dataset.filename} has '
                             f'the modalities {list(known)}')
        if channels != str(known[name].channels):
            raise ValueError(
                f'--modalities {spec}: in {dataset.filename} it has '
                f'{known[name].channels} channel(s)')
        if name in chosen:
            raise ValueError(f'--modalities names {name} twice')
        chosen[name] = known[name].to_dict()
    return chosen


def annotations_of(dataset: dict) -> Optional[dict]:
    """How a dataset loads its labels.

    Args:
        dataset (dict): Config of the dataset.

    Returns:
        dict | None: Config of the transform, None for the stock one.
    """
    for transform in next(leaf_datasets(dataset)).get('pipeline', ()):
        if loads_annotations(transform):
            # The stock pipeline says what a detector needs of them.
            stock = type_name(transform) == 'LoadAnnotations' and (
                len(transform) == 1 or 'with_bbox' in transform)
            return None if stock else dict(transform)
    return None


def loading_of(dataset: dict) -> dict:
    """How a dataset loads its images.

    Args:
        dataset (dict): Config of the dataset.

    Returns:
        dict: Arguments of ``LoadModalities`` beside ``modalities``, such as
        the border of its files.
    """
    for step in next(leaf_datasets(dataset)).get('pipeline') or ():
        if type_name(step) == 'LoadModalities':
            return {key: value for key, value in step.items()
                    if key not in ('type', '_scope_', 'modalities')}
    return {}


def num_classes_of(dataset: dict) -> int:
    """Number of classes of a dataset.

    Args:
        dataset (dict): Config of the dataset.

    Raises:
        FileNotFoundError: If only its annotations name the classes, and they
            are missing.
        ValueError: If nothing names them.
    """
    leaf = next(leaf_datasets(dataset))
    built = DATASETS.build(dict(leaf, pipeline=[], lazy_init=True))
    if not built.metainfo.get('classes'):
        built.full_init()  # this reads the annotations, which may name them
    classes = built.metainfo.get('classes')
    if not classes:
        raise ValueError(f'{type_name(leaf)} of train_dataloader has no '
                         'classes: set its metainfo=dict(classes=...)')
    return len(classes)


def evaluator_like(stock: Any, evaluator: Any) -> Any:
    """A dataset's evaluator that measures what the base's does.

    Args:
        stock (dict | Sequence[dict], optional): The base's evaluator.
        evaluator (dict | Sequence[dict]): The dataset's evaluator.

    Returns:
        dict | Sequence[dict]: What replaces the base's evaluator: the
        dataset's; ``CocoMetric`` evaluates boxes, masks or proposals as that
        of the base does.
    """
    if not isinstance(evaluator, dict):
        return evaluator
    evaluator = dict(_delete_=True, **evaluator)
    if type_name(evaluator) == 'CocoMetric':
        first = stock[0] if isinstance(stock, (list, tuple)) else stock
        # The fast kind fails with NumPy >= 1.24.
        metrics = [
            m.replace('proposal_fast', 'proposal')
            for m in _listed((first or {}).get('metric') or [])
        ]
        if metrics and set(metrics) <= {'bbox', 'segm', 'proposal'}:
            evaluator['metric'] = metrics
    return evaluator


def main_metric(evaluator: Any) -> Optional[str]:
    """Name of the metric by which an evaluator is best summed up.

    Args:
        evaluator (dict | Sequence[dict]): Config of an evaluator of
            MMSegmentation, MMDetection or MMPretrain.

    Returns:
        str | None: The name in the results; a larger value is better. None
        where no metric of the evaluator is known here.

    Examples:
        >>> main_metric(dict(type='IoUMetric', iou_metrics=['mIoU']))
        'mIoU'
        >>> main_metric(dict(type='CocoMetric', metric='segm'))
        'coco/segm_mAP'
    """
    for metric in _listed(evaluator):
        kind = type_name(metric)
        prefix, names = None, []
        if kind == 'IoUMetric':
            names = _listed(metric.get('iou_metrics') or 'mIoU')
            names = sorted(names, key=lambda name: name != 'mIoU')
        elif kind == 'CocoMetric':
            results = dict(
                bbox='bbox_mAP', segm='segm_mAP', proposal='AR@100')
            kinds = _listed(metric.get('metric') or 'bbox')
            prefix = 'coco'
            names = [results[k] for k in results if k in kinds]
        elif kind == 'Accuracy':
            prefix, names = 'accuracy', ['top1']
        elif kind == 'VOCMetric':
            prefix = 'pascal_voc'
            names = [m for m in _listed(metric.get('metric') or 'mAP')
                     if m == 'mAP']
        if names:
            prefix = metric.get('prefix') or prefix
            return f'{prefix}/{names[0]}' if prefix else names[0]
    return None


def _listed(value: Any) -> List[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]
