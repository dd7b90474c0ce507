"""Whether the data of a run and its model fit each other."""
import logging
import os.path as osp
import re
from dataclasses import fields
from typing import (
    Any,
    Dict,
    Iterable,
    Iterator,
    List,
    Mapping,
    Optional,
    Sequence,
    Tuple,
)

from mmengine import fileio
from mmengine.logging import print_log
from mmengine.model import BaseTTAModel
from mmengine.runner import EpochBasedTrainLoop, Runner
from mmengine.runner.base_loop import BaseLoop
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from .checkpoint import weights_of
from .config import (
    first_metainfo,
    leaf_datasets,
    walk_datasets,
    walk_pipelines,
    walk_transforms,
)
from .layout import Modality, ModalityLayout
from .wrappers import unwrapped

__all__ = [
    'check_alike', 'check_annotations', 'check_checkpoint', 'check_classes',
    'check_data', 'check_layouts', 'check_runner'
]

# Where the same modalities lie in the files, and whether all samples have
# them, may differ between datasets.
_OF_FILES = ('path_key', 'file_channels', 'optional')
# What inference does without.
_IN_TRAINING_ONLY = re.compile(r'(?:auxiliary_head|modality_heads)\.')
# Heads that tell the classes of the dataset apart.
_HEADS = re.compile(r'^head$|'
                    r'(?:^|\.)(?:decode_head|auxiliary_head|bbox_head)'
                    r'(?:\.\d+)?$')


def check_runner(runner: Runner,
                 loops: Optional[Mapping[str, BaseLoop]] = None) -> None:
    """Check that the datasets of a runner fit its model.

    Args:
        runner (Runner): The runner.
        loops (Mapping[str, BaseLoop], optional): ``'train'``, ``'val'`` or
            ``'test'`` to the loop whose dataset is looked at. Defaults to
            None, those that the runner has built.

    Raises:
        ValueError: As :func:`check_data` and :func:`check_annotations`, and
            if the training has no batch.
    """
    if loops is None:
        loops = dict(
            train=runner._train_loop,
            val=runner._val_loop,
            test=runner._test_loop)
    train = loops.get('train')
    # Epochs without a batch would end as if the model had been trained. A
    # training of iterations begins its dataloader again.
    if isinstance(train, EpochBasedTrainLoop) and not len(train.dataloader):
        raise ValueError(
            'train_dataloader has no batch: its dataset has '
            f'{len(train.dataloader.dataset)} samples, batch_size is '
            f'{train.dataloader.batch_size}, and drop_last leaves out a '
            'smaller batch: reduce the batch size')
    check_data(
        unwrapped(runner.model), runner.cfg, {
            f'{stage}_dataloader.dataset': loop.dataloader.dataset
            for stage, loop in loops.items() if isinstance(loop, BaseLoop)
        })
    for stage, loop in loops.items():
        given = runner.cfg.get(f'{stage}_evaluator')
        if given is None or not hasattr(loop, 'evaluator'):
            continue
        given = given if isinstance(given, (list, tuple)) else [given]
        for metric, settings in zip(loop.evaluator.metrics, given):
            if isinstance(settings, Mapping) and settings.get('ann_file'):
                check_annotations(metric, settings['ann_file'],
                                  loop.dataloader.dataset, stage)


def check_annotations(metric: Any, ann_file: str, dataset: Any,
                      stage: str) -> None:
    """Check that a ``CocoMetric`` has the images and classes of a dataset.

    The metric goes by ids and by places, so of another file it compares the
    boxes of other images, or of other classes, without a word.

    Args:
        metric (BaseMetric): The metric; one that has read no json is passed
            over, and so are datasets that have none.
        ann_file (str): The json that it has read.
        dataset (Dataset): What is evaluated.
        stage (str): ``'val'`` or ``'test'``, to name the keys by.

    Raises:
        ValueError: If an id is of another file's name in the metric's json,
            or of none, or the categories have another order. The message
            names both files.
    """
    truth = getattr(getattr(metric, '_coco_api', None), 'dataset', None)
    for leaf in leaf_datasets(dataset):
        path = str(getattr(leaf, 'ann_file', None) or '')
        if truth is None or not path.endswith('.json') or (
                osp.realpath(path) == osp.realpath(ann_file)):
            continue
        content = fileio.load(
            path, backend_args=getattr(leaf, 'backend_args', None))
        if not isinstance(content, Mapping) or not (
                {'images', 'categories'} <= set(content)):
            continue  # the dataset's own format
        said = (f'{stage}_evaluator.ann_file={ann_file!r} does not fit '
                f'{path!r} of {stage}_dataloader.dataset: ')
        classes = (leaf.metainfo or {}).get('classes') or ()
        names, expected = (
            [c['name'] for c in of['categories'] if c['name'] in classes]
            for of in (truth, content))
        if names != expected:
            raise ValueError(
                f'{said}it has the classes ({_listed(names)}), the other '
                f'({_listed(expected)}). Name the same file')
        files, known = (
            {image['id']: osp.basename(image.get('file_name', ''))
             for image in of['images']} for of in (content, truth))
        for i in range(len(leaf)):
            image = leaf.get_data_info(i).get('img_id')
            if image in files and files[image] != known.get(image):
                raise ValueError(
                    f'{said}the id {image!r} of {files[image]!r} is that of ' +
                    (repr(known[image]) if image in known else 'no image') +
                    ' there. Name the same file')


def check_data(model: nn.Module, cfg: Mapping,
               datasets: Mapping[str, Any]) -> None:
    """Check that pipelines and classes of datasets fit a model.

    Args:
        model (nn.Module): The model, without a wrapper.
        cfg (Mapping): Config of the run, to name the keys by. If it has
            ``modalities``, these count as well.
        datasets (Mapping[str, Dataset]): Config key of a dataset, e.g.
            ``'train_dataloader.dataset'``, to the dataset.

    Raises:
        ValueError: As :func:`check_layouts` and :func:`check_classes`, and
            if two datasets have other classes or another order of them.
    """
    parts = []
    for key, dataset in datasets.items():
        parts += [(f'{key}.modalities', p) for p in walk_datasets(dataset)]
        parts += [(f'{key}.pipeline.modalities', p)
                  for p in walk_pipelines(dataset)]
    layouts = [(key, type(part).__name__, getattr(part, 'layout', None))
               for key, part in parts]
    check_layouts(model, cfg, layouts)
    _warn_of_absent(datasets)
    named = list(_classes_of_each(datasets))
    for key, classes in named:
        check_classes(model, cfg, classes, key)
    _check_same_classes(named)


def check_alike(
        *datasets: Tuple[str, ModalityLayout, Optional[Sequence[str]]]
) -> None:
    """Check that datasets can stand in one table.

    Args:
        *datasets (tuple[str, ModalityLayout, Sequence[str] | None]): What
            each is called, the layout of what loads its modalities, and its
            classes, None if unknown.

    Raises:
        ValueError: If two have other modalities, or other classes or another
            order of them. The message names both.
    """
    _check_same_layouts([(f'{name}.pipeline.modalities', 'LoadModalities',
                          layout) for name, layout, _ in datasets])
    _check_same_classes([(name, classes or ())
                         for name, _, classes in datasets])


def _check_same_classes(named: Sequence[Tuple[str, Sequence[str]]]) -> None:
    for key, classes in named[1:]:
        first, expected = named[0]
        if classes != expected:
            raise ValueError(
                f'different classes: {first} has ({_listed(expected)}), '
                f'but {key} has ({_listed(classes)}). A label would mean '
                'another class: give both the same, in one order, by '
                'metainfo=dict(classes=(...))')


def _classes_of_each(
        datasets: Mapping[str, Any]) -> Iterator[Tuple[str, List[str]]]:
    """Keys of datasets and the classes of each, if it says them.

    mmdet's concatenation of datasets that differ has a list as ``metainfo``.
    """
    for key, dataset in datasets.items():
        metainfo = getattr(dataset, 'metainfo', None) or {}
        for meta in metainfo if isinstance(metainfo, list) else [metainfo]:
            if meta.get('classes'):
                yield key, list(meta['classes'])


def _warn_of_absent(datasets: Mapping[str, Any]) -> None:
    """Warn of optional modalities that no sample of a dataset has.

    What may be absent is absent without a word, also by a wrong path.
    """
    for key, dataset in datasets.items():
        optional: Dict[str, bool] = {}
        for leaf, load in _loading_of_each(dataset):
            places = range(0, len(leaf), max(1, len(leaf) // 1000))
            for name, modality in load.layout.items():
                if modality.optional and not optional.get(name):
                    optional[name] = any(
                        load.has_file(leaf.get_data_info(i), name)
                        for i in places)
        for name in sorted(n for n, found in optional.items() if not found):
            print_log(
                f'No sample of {key} that was looked at has the optional '
                f'modality "{name}": if it is to have any, correct the '
                'folder or the suffix of its files', 'current',
                logging.WARNING)


def _loading_of_each(dataset: Any) -> Iterator[Tuple[Any, Any]]:
    """Each leaf of a dataset with what loads its modalities."""
    for leaf in leaf_datasets(dataset):
        for load in walk_transforms(getattr(leaf, 'pipeline', None) or []):
            if hasattr(load, 'has_file'):
                yield leaf, load


def check_layouts(model: nn.Module,
                  cfg: Mapping = {},
                  beside: Iterable[Tuple[str, str, Any]] = ()) -> None:
    """Check that all parts have one layout.

    ``path_key``, ``file_channels`` and ``optional`` may differ, as where two
    datasets store the same modalities in other ways.

    Args:
        model (nn.Module): Its modules are looked at.
        cfg (Mapping): Config of the run, to name the keys by. If it has
            ``modalities``, these count as well. Defaults to dict().
        beside (Iterable[tuple[str, str, ModalityLayout]]): Config key, name
            and layout of something else, such as a transform; without a
            layout it is passed over. Defaults to none.

    Raises:
        ValueError: If two have other modalities, or another value in a field,
            so that one would take the channels of another's modality or their
            values for others. The message names both keys.
    """
    parts = [(_config_key(cfg.get('model'), path, 'modalities'),
              type(module).__name__, getattr(module, 'layout', None))
             for path, module in model.named_modules()]
    found = [
        part for part in [*parts, *beside]
        if isinstance(part[-1], ModalityLayout)
    ]
    if found and isinstance(cfg.get('modalities'), Mapping):
        found.append(
            ('modalities', 'the variable', ModalityLayout(cfg['modalities'])))
    _check_same_layouts(found)


def _check_same_layouts(
        found: Sequence[Tuple[str, str, ModalityLayout]]) -> None:
    for part in found[1:]:
        difference = _difference(found[0], part)
        if difference is not None:
            raise ValueError(
                f'different modalities: {difference[0]}, but {difference[1]}. '
                'Values would be taken for others. Give all parts the same: '
                'let each take the variable `modalities` of the config. Where '
                'a file that inherits changes the variable, the tools of '
                'mwam_mm change all parts; other programs call '
                'mwam_mm.inheritance.follow_modalities(cfg)')


def check_classes(model: nn.Module, cfg: Mapping,
                  classes: Optional[Sequence[str]], where: str) -> None:
    """Check that the heads of a model have the classes of a dataset.

    Args:
        model (nn.Module): The model.
        cfg (Mapping): Config of the run, to name the key by.
        classes (Sequence[str], optional): The classes. None if unknown.
        where (str): Config key of the dataset.

    Raises:
        ValueError: If a head has another number. The message names both keys.
    """
    if not classes:
        return
    for path, head in model.named_modules():
        count = getattr(head, 'num_classes', None)
        # One sigmoid tells two classes apart; STDCHead learns boundaries.
        binary = len(classes) == 2 and getattr(head, 'out_channels', 0) == 1
        if (_HEADS.search(path) and isinstance(count, int)
                and count != len(classes) and not binary
                and type(head).__name__ != 'STDCHead'):
            key = _config_key(cfg.get('model'), path, 'num_classes')
            raise ValueError(
                f'{key}={count}, but {where} has {len(classes)} classes '
                f'({_listed(classes)}): correct the one or the other')


def check_checkpoint(runner: Runner, checkpoint: Mapping) -> None:
    """Check that an evaluation has what a checkpoint learned.

    A training is free to go on from other classes, or to start a branch from
    scratch, but not from what is no checkpoint.

    Args:
        runner (Runner): The runner.
        checkpoint (Mapping): The checkpoint, whose ``meta`` names the classes
            if MMEngine saved it.

    Raises:
        ValueError: If a dataset has the same classes in another order or
            another number of them, or the checkpoint holds no weights, or
            nothing of a branch, or lacks parameters of a multimodal model, or
            has them in other shapes.
    """
    if isinstance(runner._train_loop, BaseLoop) and isinstance(
            checkpoint, Mapping):
        return
    weights = weights_of(
        checkpoint, f'the checkpoint {runner._load_from or "of the work dir"}')
    meta = first_metainfo(
        (checkpoint.get('meta') or {}).get('dataset_meta'))
    _check_order_of_classes(runner, list(meta.get('classes') or ()))
    _check_branches(runner, list(weights))
    _check_shapes(runner, weights)


def _check_order_of_classes(runner: Runner, learned: Sequence[str]) -> None:
    """A warning says if they have other names, as those of another dataset
    may."""
    if not learned:
        return
    loops = {f'{stage}_dataloader.dataset': getattr(runner, f'_{stage}_loop')
             for stage in ('val', 'test')}
    for key, classes in _classes_of_each({
            key: loop.dataloader.dataset
            for key, loop in loops.items() if isinstance(loop, BaseLoop)
    }):
        if classes == learned:
            continue
        said = (f'{key} has the classes '
                f'({_listed(classes)}), but the checkpoint '
                f'{runner._load_from} was trained on ({_listed(learned)})')
        if sorted(classes) == sorted(learned):
            raise ValueError(
                f'{said}. Each class would be taken for another: give the '
                'dataset the order of the checkpoint, by '
                'metainfo=dict(classes=(...))')
        if len(classes) != len(learned):
            # MMEngine would leave heads of another shape as they started.
            raise ValueError(f'{said}: test it by the config that it was '
                             'trained with')
        print_log(f'{said}: taken for the same, by their order',
                  'current', logging.WARNING)


def _check_branches(runner: Runner, keys: Sequence[str]) -> None:
    """MMEngine prints what a checkpoint lacks and goes on."""
    for module in runner.model.modules():
        branches = getattr(module, 'branches', None)
        if not isinstance(getattr(module, 'layout', None), ModalityLayout) or \
                not isinstance(branches, nn.ModuleDict):
            continue
        lacking = [
            name for name, branch in branches.items()
            if any(True for _ in branch.parameters())
            and not any(f'branches.{name}.' in key for key in keys)
        ]
        if lacking:
            raise ValueError(
                f'the checkpoint {runner._load_from} has no weights for the '
                f'branches of {lacking}, which would be random: test it by '
                'the config that it was trained with')


def _check_shapes(runner: Runner, weights: Mapping) -> None:
    """The same for single parameters, such as those of another head."""
    model = runner.model
    while isinstance(model, (BaseTTAModel, DistributedDataParallel)):
        model = model.module
    # Other wrappers cut the parameters up.
    if unwrapped(model) is not model or not any(
            isinstance(getattr(module, 'layout', None), ModalityLayout)
            for module in model.modules()):
        return
    lacking = [
        name for name, parameter in model.named_parameters()
        if not _IN_TRAINING_ONLY.match(name)
        and getattr(weights.get(name), 'shape', None) != parameter.shape
    ]
    if lacking:
        raise ValueError(
            f'the checkpoint {runner._load_from} lacks {len(lacking)} '
            f'parameters of the model, or has them in other shapes: '
            f'{_listed(lacking, 3)}. They would be random: test it by the '
            'config that it was trained with')


def _listed(names: Sequence[str], limit: int = 10) -> str:
    more = ', ..' if len(names) > limit else ''
    return ', '.join(map(str, names[:limit])) + more


def _difference(
        *parts: Tuple[str, str, ModalityLayout]) -> Optional[List[str]]:
    """Where two parts say what differs between their layouts, if it does.

    Args:
        *parts (tuple[str, str, ModalityLayout]): Of each the config key, the
            name and the layout.
    """
    if len({str(layout) for _, _, layout in parts}) > 1:
        return [f'{key} is {layout} ({owner})' for key, owner, layout in parts]
    for name in parts[0][2]:
        for field in fields(Modality):
            values = [getattr(layout[name], field.name)
                      for _, _, layout in parts]
            # NaN differs from itself, its text does not.
            if field.name not in _OF_FILES and len(set(map(str, values))) > 1:
                return [
                    f'{key}[{name!r}] ({owner}) has '
                    f'{field.name}={_plain(value)}'
                    for (key, owner, _), value in zip(parts, values)
                ]
    return None


def _plain(value: Any) -> Any:
    """A field as a config has it: channels that are alike as one number."""
    if isinstance(value, tuple) and len(set(value)) == 1:
        return value[0]
    return list(value) if isinstance(value, tuple) else value


def _config_key(model: Optional[Mapping], path: str, key: str) -> str:
    """Where a config says what a module of the model takes.

    It is the innermost config around the module that has the key, since a
    function that builds a model takes one argument for all of its parts.
    """
    place, found = 'model', None
    names: Tuple[str, ...] = tuple(filter(None, path.split('.')))
    for name in (*names, ''):
        if not isinstance(model, Mapping):
            break
        if key in model:
            found = f'{place}.{key}'
        place, model = f'{place}.{name}', model.get(name)
    return found or '.'.join(['model', *names, key])
