"""The stock config that a job inherits from."""
import difflib
import glob
import importlib
import os.path as osp
from typing import Any, List, Mapping, NamedTuple, Optional

from mmengine.config import Config
from mmengine.config.utils import MODULE2PACKAGE
from mmengine.registry import MODELS
from torch import nn

from mwam_mm.config import type_name, walk_datasets
from mwam_mm.inheritance import follow_modalities
from mwam_mm.stack import check_scope

from .code import Code

__all__ = [
    'Pipeline', 'Pipelines', 'base_of', 'base_pipelines', 'build_model',
    'find_base', 'load_config', 'reference', 'scope_of'
]


class Pipeline(NamedTuple):
    """A stock pipeline and how an inheriting config refers to it."""
    transforms: List[dict]
    code: Any


class Pipelines(NamedTuple):
    """The pipelines of a stock dataset.

    ``mix`` is that of a dataset which mixes images of the one with ``load``,
    and ``mix_args`` are the other arguments of this dataset.
    """
    load: Pipeline
    mix: Optional[Pipeline]
    mix_args: dict


def find_base(name: str) -> str:
    """Path of a config that is named by its path or its place in a zoo.

    Args:
        name (str): A path, or a name such as ``'mmseg::fcn/NAME.py'``.

    Returns:
        str: The absolute path.

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
        check_scope(package)
        module = importlib.import_module(package)
    except ImportError as error:
        raise ValueError(f'{name}: cannot import {package} ({error})')
    if package not in MODULE2PACKAGE:
        raise ValueError(f'{name}: MMEngine inherits by name from '
                         f'{list(MODULE2PACKAGE)} only: name the path of the '
                         'config')
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


def base_of(name: str, out: str) -> str:
    """What ``_base_`` is in a config file.

    Args:
        name (str): The base as the user named it.
        out (str): Path of the config file.

    Returns:
        str: The name itself; for a path relative to the working directory,
        the path relative to the config file, which is where MMEngine looks.
    """
    if '::' in name or osp.isabs(name):
        return name
    return osp.relpath(name, osp.dirname(osp.abspath(out)))


def load_config(path: str) -> Config:
    """Load a config.

    Args:
        path (str): The file.

    Raises:
        ValueError: If it does not exist or needs what is not installed.
    """
    try:
        cfg = Config.fromfile(path)
    except ImportError as error:
        # The cause names the package; the message of MMEngine is a page.
        cause = error.__cause__ or error.__context__ or error
        raise ValueError(f'{path} needs a package that is not installed: '
                         f'{cause}')
    except FileNotFoundError as error:
        raise ValueError(str(error))
    except RuntimeError as error:
        if 'lazy_import' not in str(error):
            raise
        raise ValueError(
            'the base is a config in the pure Python style, from which others '
            'in that style only can inherit. Write it as a plain one, by '
            "mmengine.config.Config.fromfile(BASE).dump('base.py'), and name "
            'that') from error
    follow_modalities(cfg)
    return cfg


def scope_of(cfg: Config) -> str:
    """The default scope of a config, ``'mmseg'`` where it has none."""
    return cfg.get('default_scope') or 'mmseg'


def build_model(cfg: Mapping) -> nn.Module:
    """Build a model.

    Args:
        cfg (Mapping): Its config, whose scope is the default one.

    Returns:
        nn.Module: The model.

    Raises:
        ValueError: If it cannot be built; the message says why.
    """
    try:
        return MODELS.build(cfg)
    except Exception as error:
        hint = ''
        if '_ext' in str(error):
            hint = ' (it needs mmcv with compiled ops)'
        raise ValueError(
            f'the model cannot be built: {error}{hint}') from error


def reference(base: Config, value: Any) -> Any:
    """Code for a value of the base, by the name that it has there.

    Args:
        base (Config): The stock config.
        value (Any): The value.

    Returns:
        Any: The code, or the value itself where the base has no name for it.
    """
    for key, candidate in base.items():
        if candidate == value:
            return Code(f'_base_.{key}')
    return value


def base_pipelines(base: Config, loader: str) -> Pipelines:
    """The pipelines of one of the base's dataloaders.

    Args:
        base (Config): The stock config.
        loader (str): Key of the dataloader, e.g. ``'train_dataloader'``.

    Returns:
        Pipelines: Those of the first dataset, where it wraps several.

    Raises:
        ValueError: If no dataset has a pipeline.
    """
    mix, mix_args = None, {}
    for dataset in walk_datasets(base[loader].dataset):
        transforms = dataset.get('pipeline')
        if transforms is None:
            continue
        pipeline = Pipeline(transforms, reference(base, transforms))
        if type_name(dataset) != 'MultiImageMixDataset':
            return Pipelines(pipeline, mix, mix_args)
        mix = pipeline
        mix_args = {
            key: value
            for key, value in dataset.to_dict().items()
            if key not in ('type', 'dataset', 'pipeline')
        }
    raise ValueError(f'its {loader}.dataset has no pipeline')
