"""Write a multimodal config with MWAM that inherits from any stock config.

The stock config is a path or a name in the model zoo of an installed package,
e.g. mmseg::fcn/fcn_r50-d8_4xb4-80k_ade20k-512x512.py or
mmdet::retinanet/retinanet_r50_fpn_1x_coco.py. Its model, schedule and
augmentation stay; the dataset is the embedded scene set or that of --dataset.
"""
import argparse
import difflib
import glob
import importlib
import os
import os.path as osp
from typing import Any, Dict, List, NamedTuple, Optional, Sequence

import numpy as np
import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import DATASETS, MODELS, init_default_scope
from mmengine.structures import InstanceData

from mwam_mm.cli import type_name
from mwam_mm.datasets.transforms import (
    multimodal_pipeline,
    multimodal_transforms,
)
from mwam_mm.models.multimodal import check_base
from mwam_mm.stack import check_stack

DATASETS_DIR = osp.join(
    osp.dirname(osp.dirname(osp.dirname(osp.abspath(__file__)))), 'configs',
    '_base_', 'datasets')
# The embedded scene set, by the base's default scope.
SCENES = dict(
    mmseg=osp.join(DATASETS_DIR, 'scenes_rgbdt_seg.py'),
    mmdet=osp.join(DATASETS_DIR, 'scenes_rgbdt_det.py'))
# Arguments of transforms and data preprocessors that are image sizes.
SIZES = ('scale', 'crop_size', 'size', 'img_scale', 'max_size', 'width',
         'height', 'random_size_range')
# Pixels of the images with --smoke, the first that the model can take.
SMOKE_SIZES = (64, 128, 256, 512)


class Code(str):
    """Text that stands in the config as it is, not as a string."""


class CannotRun(ValueError):
    """The model cannot run a smoke test."""


class ImageTooSmall(CannotRun):
    """It may be that the images of the smoke test are too small."""


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('base', help='path or zoo name of the stock config')
    parser.add_argument(
        '--modalities',
        nargs='+',
        required=True,
        metavar='NAME:CHANNELS',
        help='modalities of the dataset, in channel order, e.g. rgb:3 depth:1')
    parser.add_argument(
        '--dataset',
        help='config file of a multimodal dataset: modalities, dataloaders '
        'and evaluators (default: the embedded scene set)')
    parser.add_argument(
        '--smoke',
        action='store_true',
        help='shrink images, data and schedule to one iteration and one '
        'evaluation, on a CPU too')
    parser.add_argument(
        '-o', '--out', required=True, help='path of the config to write')
    return parser


def find_base(name: str) -> str:
    """Path of a config that is named by its path or its place in a zoo.

    Raises:
        ValueError: If there is no such config.
    """
    package, colons, file = name.rpartition('::')
    if not colons:
        if not osp.isfile(name):
            raise ValueError(f'{name} does not exist; a config of a model zoo '
                             'is named like mmseg::fcn/NAME.py')
        return osp.abspath(name)
    try:
        module = importlib.import_module(package)
    except ImportError as error:
        raise ValueError(f'{name}: cannot import {package} ({error})')
    zoo = osp.join(osp.dirname(module.__file__), '.mim', 'configs')
    path = osp.join(zoo, file)
    if not osp.isfile(path):
        known = [
            osp.relpath(p, zoo)
            for p in glob.glob(osp.join(zoo, '**', '*.py'), recursive=True)
        ]
        close = difflib.get_close_matches(file, known, n=3, cutoff=0)
        raise ValueError(f'{name} is not in the zoo of {package} at {zoo}; '
                         f'closest are {close}')
    return path


def load_config(path: str) -> Config:
    """Load a config.

    Raises:
        ValueError: If it does not exist or needs what is not installed.
    """
    try:
        return Config.fromfile(path)
    except ImportError as error:
        # The cause names the package; the message of mmengine is a page.
        cause = error.__cause__ or error.__context__ or error
        raise ValueError(f'{path} needs a package that is not installed: '
                         f'{cause}')
    except FileNotFoundError as error:
        raise ValueError(str(error))


def scope_of(cfg: Config) -> str:
    """The default scope of a config."""
    return cfg.get('default_scope') or 'mmseg'


def load_dataset(path: Optional[str], base: Config) -> Config:
    """The dataset's config, by default that of the scenes."""
    return load_config(path or SCENES.get(scope_of(base), SCENES['mmseg']))


def choose_modalities(specs: Sequence[str],
                      dataset: Config) -> Dict[str, dict]:
    """The layout for ``NAME:CHANNELS`` arguments.

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


class Pipeline(NamedTuple):
    """A stock pipeline and how an inheriting config refers to it."""
    transforms: List[dict]
    code: Any


class Pipelines(NamedTuple):
    """The pipelines of a stock dataset."""
    load: Pipeline
    # That of a dataset which mixes images of the one with `load`, and its
    # other arguments.
    mix: Optional[Pipeline]
    mix_args: dict


def reference(base: Config, value: Any) -> Any:
    """Code for a value of the base's, by the name that it has there."""
    for key, candidate in base.items():
        if candidate == value:
            return Code(f'_base_.{key}')
    return value


def base_pipelines(cfg: Config, loader: str) -> Pipelines:
    """The pipelines of one of the base's dataloaders."""
    dataset = cfg[loader].dataset
    mix, mix_args = None, {}
    while True:
        transforms = dataset.get('pipeline')
        inner = dataset.get('dataset') or dataset.get('datasets')
        if isinstance(inner, (list, tuple)):
            inner = inner[0]
        if transforms is not None:
            pipeline = Pipeline(transforms, reference(cfg, transforms))
            if type_name(dataset) != 'MultiImageMixDataset':
                return Pipelines(pipeline, mix, mix_args)
            mix = pipeline
            mix_args = {
                key: value
                for key, value in dataset.to_dict().items()
                if key not in ('type', 'dataset', 'pipeline')
            }
        elif inner is None:
            raise ValueError(f'its {loader}.dataset has no pipeline')
        dataset = inner


def shrink(cfg: Any, size: int) -> Any:
    """Set all image sizes within a pipeline's config to ``size``."""
    if isinstance(cfg, (list, tuple)):
        return [shrink(c, size) for c in cfg]
    if not isinstance(cfg, dict):
        return cfg
    cfg = dict(cfg)
    for key, value in cfg.items():
        if key == 'crop_size' and 'relative' in cfg.get('crop_type', ''):
            continue
        if key in SIZES and value is not None:
            cfg[key] = resize(value, size)
        elif key == 'scales':
            cfg[key] = [resize(value[0], size)]
        elif key == 'border' and type_name(cfg) == 'RandomAffine':
            cfg[key] = resize(value, -size // 2)  # of a mosaic
        elif key == 'max_cached_images':
            cfg[key] = 5
        else:
            cfg[key] = shrink(value, size)
    return cfg


def resize(old: Any, size: int) -> Any:
    """``size`` in the form of an old one, a number, pair or list of pairs."""
    if isinstance(old, (list, tuple)):
        return type(old)(resize(o, size) for o in old)
    return size


def dataset_code(cfg: Any, pipeline: Code) -> Any:
    """A dataset's config, of wrappers too, with ``pipeline`` as its own."""
    if isinstance(cfg, (list, tuple)):
        return [dataset_code(c, pipeline) for c in cfg]
    cfg = dict(cfg)
    for key in ('dataset', 'datasets'):
        if key in cfg:
            cfg[key] = dataset_code(cfg[key], pipeline)
            return cfg
    cfg['pipeline'] = pipeline
    return cfg


def leaf_dataset(cfg: Any) -> dict:
    """The first dataset within wrappers."""
    if isinstance(cfg, (list, tuple)):
        return leaf_dataset(cfg[0])
    inner = cfg.get('dataset') or cfg.get('datasets')
    return cfg if inner is None else leaf_dataset(inner)


def annotations_of(dataset: dict) -> Optional[dict]:
    """How a dataset loads its labels, None for the stock way."""
    for transform in leaf_dataset(dataset).get('pipeline', ()):
        name = type_name(transform)
        if name.startswith('Load') and 'Annotation' in name:
            # What a detector needs of them, its own pipeline says.
            stock = name == 'LoadAnnotations' and (
                len(transform) == 1 or 'with_bbox' in transform)
            return None if stock else dict(transform)
    return None


def num_classes_of(dataset: dict) -> int:
    """Number of classes of a dataset.

    Raises:
        FileNotFoundError: If only its annotations name the classes, and they
            are missing.
        ValueError: If nothing names them.
    """
    leaf = leaf_dataset(dataset)
    built = DATASETS.build(dict(leaf, pipeline=[], lazy_init=True))
    if not built.metainfo.get('classes'):
        built.full_init()  # those of the annotations
    classes = built.metainfo.get('classes')
    if not classes:
        raise ValueError(f'{type_name(leaf)} of train_dataloader has no '
                         'classes: set its metainfo=dict(classes=...)')
    return len(classes)


def is_scenes(dataset: dict) -> bool:
    """Whether it is the embedded scene set."""
    return type_name(dataset) in ('SceneDataset', 'SceneDetDataset')


def smoke_root(size: int) -> str:
    return f'data/scenes_{size}'


def evaluator_code(base: Any, evaluator: Any, dataset: Config,
                   smoke_size: Optional[int]) -> Any:
    """The dataset's evaluator, which measures what the base's does."""
    if not isinstance(evaluator, dict):
        return evaluator
    evaluator = dict(_delete_=True, **evaluator)
    if type_name(evaluator) == 'CocoMetric':
        stock = base[0] if isinstance(base, (list, tuple)) else base
        metric = stock.get('metric') or []
        metric = [metric] if isinstance(metric, str) else list(metric)
        # The fast one fails with NumPy >= 1.24.
        metric = [m.replace('proposal_fast', 'proposal') for m in metric]
        if metric and set(metric) <= {'bbox', 'segm', 'proposal'}:
            evaluator['metric'] = metric
        if smoke_size and is_scenes(
                leaf_dataset(dataset.val_dataloader.dataset)):
            evaluator['ann_file'] = evaluator['ann_file'].replace(
                dataset.data_root, smoke_root(smoke_size))
    return evaluator


def smoke_dataset(cfg: dict, size: int) -> dict:
    """A dataset's config for a handful of samples."""
    cfg = dict(cfg)
    if is_scenes(cfg):
        cfg.update(
            data_root=smoke_root(size),
            scene_cfg=dict(
                height=size, width=size, splits=dict(train=4, val=2)))
    elif 'dataset' not in cfg and 'datasets' not in cfg:
        cfg['indices'] = 2
    return cfg


def model_code(base: Config, num_classes: int,
               smoke_size: Optional[int]) -> dict:
    """The config of the model."""
    model = dict(
        _delete_=True,
        type='mwam_mm.multimodal',
        base=Code('_base_.model'),
        modalities=Code('modalities'),
        num_classes=num_classes,
        mwam=dict())
    override = {
        path: None
        for path in missing_files(base.model.to_dict())
    }
    sizes = {}
    if base.model.backbone.get('img_size'):
        sizes['backbone.img_size'] = base.model.backbone.img_size
    preprocessor = base.model.get('data_preprocessor') or {}
    if preprocessor.get('size'):
        sizes['data_preprocessor.size'] = preprocessor.size
    if smoke_size and preprocessor.get('batch_augments'):
        override['data_preprocessor.batch_augments'] = shrink(
            preprocessor.to_dict()['batch_augments'], smoke_size)
    if smoke_size:
        override.update({
            path: resize(size, smoke_size)
            for path, size in sizes.items()
        })
    if type_name(preprocessor) == 'SegDataPreProcessor' and not (
            preprocessor.get('size') or preprocessor.get('size_divisor')):
        # A few configs of the zoo forgot it, and would not train.
        print('note: data_preprocessor pads to no size: size_divisor=32')
        override['data_preprocessor.size_divisor'] = 32
    if override:
        model['override'] = override
    return model


def missing_files(cfg: Any, path: str = '') -> List[str]:
    """Places of pretrained weights that are local files not at hand."""
    if isinstance(cfg, (list, tuple)):
        cfg = dict(enumerate(cfg))
    if not isinstance(cfg, dict):
        return []
    missing = []
    for key, value in cfg.items():
        place = f'{path}.{key}' if path else str(key)
        file = value
        if key == 'init_cfg' and isinstance(value, dict):
            file = value.get('checkpoint')
        if key in ('pretrained', 'init_cfg') and isinstance(file, str):
            if '://' not in file and not osp.exists(file):
                missing.append(place)
                print(f'note: {place}: {file} is not at hand, training '
                      'starts from scratch')
        else:
            missing += missing_files(value, place)
    return missing


def optim_wrapper_code(cfg: Config, smoke: bool) -> Optional[dict]:
    """What must change in the optimizer's config, None for nothing."""
    wrapper = cfg.optim_wrapper.to_dict()
    rules = wrapper.get('paramwise_cfg') or {}
    constructor = wrapper.get('constructor')
    change = {}
    if constructor or any('backbone.' in key
                          for key in rules.get('custom_keys', {})):
        change['constructor'] = 'mwam_mm.MultiModalOptimWrapperConstructor'
        if constructor:
            change['paramwise_cfg'] = dict(constructor=constructor)
    if smoke and type_name(wrapper) == 'AmpOptimWrapper':
        # It needs a GPU.
        for key in ('loss_scale', 'dtype', 'use_fp16'):
            wrapper.pop(key, None)
        wrapper.update(_delete_=True, type='OptimWrapper')
        wrapper['paramwise_cfg'] = dict(rules,
                                        **change.pop('paramwise_cfg', {}))
        return dict(wrapper, **change)
    return change or None


def compose(base_path: str,
            base: Config,
            dataset: Config,
            specs: Sequence[str],
            smoke_size: Optional[int] = None,
            evaluate: bool = True) -> str:
    """The text of the multimodal config.

    Args:
        base_path (str): Path of the stock config.
        base (Config): The stock config.
        dataset (Config): Config of the dataset.
        specs (Sequence[str]): The modalities, as NAME:CHANNELS.
        smoke_size (int, optional): Pixels of the images, for a smoke test.
            Defaults to None, a real job.
        evaluate (bool): Whether to evaluate. Defaults to True.

    Returns:
        str: The text.

    Raises:
        FileNotFoundError: If the annotations that name the dataset's classes
            are missing.
        ValueError: If something cannot be carried over.
    """
    for key in ('model', 'optim_wrapper', 'train_dataloader',
                'val_dataloader', 'test_dataloader'):
        if not base.get(key):
            raise ValueError(f'it has no `{key}`: name the config of a whole '
                             'job, which could be trained')
    check_base(base.model)
    init_default_scope(scope_of(base))
    modalities = choose_modalities(specs, dataset)
    train_set = dataset.train_dataloader.dataset.to_dict()
    num_classes = num_classes_of(train_set)

    annotations = annotations_of(train_set)

    def pipeline_code(pipeline: Pipeline) -> List[dict]:
        transforms, code = pipeline
        if smoke_size:
            code = shrink(transforms, smoke_size)
        change = dict(
            type='mwam_mm.multimodal',
            modalities=Code('modalities'),
            transforms=code)
        if annotations is not None:
            change['annotations'] = annotations
        # Tells at once if a transform cannot be carried over.
        multimodal_pipeline(transforms, modalities, annotations)
        return [change]

    def loader_code(loader: str) -> dict:
        cfg = dataset[loader].dataset.to_dict()
        pipelines = base_pipelines(base, loader)
        if smoke_size:
            cfg = smoke_dataset(cfg, smoke_size)
        cfg = dataset_code(cfg, pipeline_code(pipelines.load))
        if pipelines.mix is not None:
            transforms, code = pipelines.mix
            multimodal_transforms(transforms, modalities)
            cfg = dict(
                type='mwam_mm.MultiModalMixDataset',
                modalities=Code('modalities'),
                dataset=cfg,
                pipeline=shrink(transforms, smoke_size)
                if smoke_size else code,
                **pipelines.mix_args)
        code = dict(dataset=dict(_delete_=True, **cfg))
        if smoke_size:
            code.update(num_workers=0, persistent_workers=False)
            if loader == 'train_dataloader':
                code.update(batch_size=2)
        return code

    hooks = base.to_dict().get('custom_hooks') or []
    for hook in hooks:
        if 'switch_pipeline' in hook:
            transforms = hook['switch_pipeline']
            hook['switch_pipeline'] = pipeline_code(
                Pipeline(transforms, reference(base, transforms)))

    settings = dict(
        _base_=base_path,
        modalities=modalities,
        model=model_code(base, num_classes, smoke_size),
        custom_hooks=[*hooks, dict(type='mwam_mm.MWAMHook')],
        train_dataloader=loader_code('train_dataloader'),
        val_dataloader=loader_code('val_dataloader'))
    if dataset.test_dataloader == dataset.val_dataloader:
        settings['val_dataloader = test_dataloader'] = \
            settings.pop('val_dataloader')
    else:
        settings['test_dataloader'] = loader_code('test_dataloader')
    for key in ('val_evaluator', 'test_evaluator'):
        if base.get(key) != dataset[key]:
            settings[key] = evaluator_code(base.get(key),
                                           dataset.to_dict()[key], dataset,
                                           smoke_size)
    optim_wrapper = optim_wrapper_code(base, bool(smoke_size))
    if optim_wrapper:
        settings['optim_wrapper'] = optim_wrapper
    if base.get('load_from'):
        print(f'note: load_from={base.load_from} left out, it is a checkpoint '
              'of the stock model')
        settings['load_from'] = None
    if smoke_size:
        settings.update(
            param_scheduler=[],
            train_cfg=dict(
                _delete_=True,
                type='IterBasedTrainLoop',
                max_iters=1,
                val_interval=1),
            default_hooks=dict(
                logger=dict(type='LoggerHook', interval=1), checkpoint=None))
    if not evaluate:
        for key in list(settings):
            if key.startswith(('val_', 'test_')):
                settings.pop(key)
        settings.update({
            f'{stage}_{key}': None
            for stage in ('val', 'test')
            for key in ('dataloader', 'cfg', 'evaluator')
        })
    title = (f'{osp.splitext(osp.basename(base_path))[0]} with '
             f'{" + ".join(modalities)} and MWAM')
    return f'# {title}.\n' + ''.join(
        format_code(f'{key} = {to_code(value)}')
        for key, value in settings.items())


BLANK = '\0'  # where a line must not break


def to_code(value: Any) -> str:
    """Python code of a config value, mappings as calls of ``dict``."""
    if isinstance(value, Code):
        return str(value)
    if isinstance(value, dict):
        if all(isinstance(k, str) and k.isidentifier() for k in value):
            inner = ', '.join(f'{k}={to_code(v)}' for k, v in value.items())
            return f'dict({inner})'
        inner = ', '.join(f'{k!r}: {to_code(v)}' for k, v in value.items())
        return f'{{{inner}}}'
    if isinstance(value, (list, tuple)):
        inner = ', '.join(map(to_code, value))
        if len(inner) < 30:
            inner = inner.replace(' ', BLANK)
        if isinstance(value, list):
            return f'[{inner}]'
        return f'({inner},)' if len(value) == 1 else f'({inner})'
    return repr(value).replace(' ', BLANK)


def format_code(code: str) -> str:
    """Break a statement after commas to keep its lines within 79 columns."""
    lines: List[str] = []
    for part in code.split(', '):
        if lines and len(lines[-1]) + len(part) < 77:
            lines[-1] += f', {part}'
        else:
            lines.append(f'    {part}' if lines else part)
    return ',\n'.join(lines).replace(BLANK, ' ') + '\n'


def check(path: str, smoke_size: Optional[int], evaluate: bool) -> None:
    """Build the model of a config and, for a smoke test, run it.

    Raises:
        ValueError: If it cannot be built; the message says why.
        CannotRun: If it cannot run.
    """
    cfg = load_config(path)
    init_default_scope(scope_of(cfg))
    try:
        model = MODELS.build(cfg.model)
    except Exception as error:
        hint = ''
        if '_ext' in str(error):
            hint = ' (it needs mmcv with compiled ops)'
        raise ValueError(
            f'the model cannot be built: {error}{hint}') from error
    if smoke_size is None:
        return
    # Random weights of layers' own kind let the features of deep models
    # grow without bound.
    logger = MMLogger.get_current_instance()
    logger.setLevel('WARNING')  # it would list every parameter
    model.init_weights()
    channels = model.data_preprocessor.layout.num_channels
    images = torch.randn(2, channels, smoke_size, smoke_size)
    samples = None
    if scope_of(cfg) == 'mmdet':
        samples = [det_sample(smoke_size) for _ in images]
    try:
        if evaluate:
            with torch.no_grad():
                model.eval()(images[:1], samples and samples[:1], 'predict')
        else:
            model.train()(images, samples, 'loss')
    except ImportError as error:
        raise CannotRun(f'the model cannot run: {error}') from error
    except Exception as error:
        if 'implementation for device' in str(error):
            raise CannotRun('the model cannot run here, it needs a GPU: '
                            f'{error}') from error
        raise ImageTooSmall(
            f'the model fails on an image of {smoke_size}x{smoke_size} '
            f'pixels: {error}') from error


def det_sample(size: int) -> Any:
    """A sample for a detector, with one object."""
    from mmdet.structures import DetDataSample
    from mmdet.structures.mask import BitmapMasks
    shape = (size, size)
    return DetDataSample(
        metainfo=dict(
            img_id=0,
            ori_shape=shape,
            img_shape=shape,
            pad_shape=shape,
            batch_input_shape=shape,
            scale_factor=(1., 1.),
            border=(0, size, 0, size)),
        gt_instances=InstanceData(
            bboxes=torch.tensor([[0., 0., size / 2, size / 2]]),
            labels=torch.tensor([0]),
            masks=BitmapMasks(
                np.ones((1, size, size), np.uint8), size, size)),
        ignored_instances=InstanceData(bboxes=torch.zeros(0, 4)))


def write(text: str,
          path: str,
          smoke_size: Optional[int],
          evaluate: bool = True) -> None:
    """Write a config that works, or nothing."""
    path = osp.abspath(path)
    os.makedirs(osp.dirname(path), exist_ok=True)
    temporary = osp.join(osp.dirname(path), f'_{os.getpid()}.py')
    try:
        with open(temporary, 'w', encoding='utf-8') as f:
            f.write(text)
        check(temporary, smoke_size, evaluate)
        os.replace(temporary, path)
    finally:
        if osp.exists(temporary):
            os.remove(temporary)


def convert(args: argparse.Namespace) -> None:
    """Do what the flags say.

    Raises:
        OSError: If a file cannot be read or written.
        ValueError: If something cannot be carried over.
    """
    base_path = find_base(args.base)
    base = load_config(base_path)
    detects = scope_of(base) == 'mmdet'
    if detects:
        check_stack('mmdet')
    dataset = load_dataset(args.dataset, base)
    for evaluate in (True, False) if args.smoke and detects else (True, ):
        for size in SMOKE_SIZES if args.smoke else (None, ):
            text = compose(base_path, base, dataset, args.modalities, size,
                           evaluate)
            try:
                write(text, args.out, size, evaluate)
            except CannotRun as failure:
                error = failure
                if not isinstance(error, ImageTooSmall):
                    break
            else:
                return
        if evaluate and detects:
            print('note: no evaluation, since an untrained model cannot '
                  f'predict here ({error})')
    raise error


def main() -> None:
    parser = build_parser()
    args = parser.parse_args()
    try:
        convert(args)
    except (ImportError, OSError, ValueError) as error:
        parser.exit(2, f'{parser.prog}: error: {args.base}: {error}\n')
    print(f'wrote {args.out}: python tools/train.py {args.out}')


if __name__ == '__main__':
    main()
