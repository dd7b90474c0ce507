"""What a study compares: variants, seeds and ceilings."""
import copy
import os.path as osp
from dataclasses import dataclass, field, replace
from typing import Any, Dict, Iterable, Mapping, Optional, Sequence

from mmengine.config import Config

from mwam_mm.cli import read_config
from mwam_mm.config import type_name, walk_dicts
from mwam_mm.convert.pipeline import MULTIMODAL
from mwam_mm.datasets.transforms.pipeline import PHOTOMETRIC
from mwam_mm.layout import ModalityLayout

STUDY_KEYS = ('variants', 'config', 'seeds', 'baseline', 'ceilings', 'metric',
              'options')
VARIANT_KEYS = ('config', 'options', 'only')
# Where configs say something for each modality, or list some.
BY_MODALITY = ('modalities', 'branches', 'inputs', 'in_channels', 'k',
               'imdecode_backend', 'npz_key')


@dataclass
class Variant:
    """One way to train.

    Args:
        config (str): Path of the config.
        options (dict): Settings that override those of the config. In
            ``load_from``, ``{seed}`` stands for the seed of the run.
        only (str, optional): The modality that it is trained and evaluated
            on alone.
    """
    config: str
    options: dict = field(default_factory=dict)
    only: Optional[str] = None

    def load(self, folder: str) -> Config:
        """The config with everything but the seed."""
        # A copy, as merging changes what it holds.
        options = copy.deepcopy(self.options)
        cfg = read_config(self.config, {'launcher': 'none', **options})
        cfg.work_dir = folder
        if self.only is not None:
            keep_modality(cfg, self.only)
        return cfg


@dataclass
class Study:
    """What is compared.

    Args:
        variants (dict[str, Variant]): By name, ceilings included.
        seeds (Sequence[int]): Seeds of each.
        work_dir (str): Folder of all runs and results.
        baseline (str, optional): Name of the variant to compare with.
        ceilings (dict[str, str]): Modality to the name of its ceiling.
        metric (str, optional): What to tabulate.

    Raises:
        ValueError: If no variant is called like the baseline, or a seed
            comes twice.
    """
    variants: Dict[str, Variant]
    seeds: Sequence[int]
    work_dir: str
    baseline: Optional[str] = None
    ceilings: Dict[str, str] = field(default_factory=dict)
    metric: Optional[str] = None

    def __post_init__(self) -> None:
        # Not after hours of training.
        if self.baseline is not None and self.baseline not in self.variants:
            raise ValueError(f'baseline is {self.baseline!r}, but the '
                             f'variants are {list(self.variants)}')
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f'a seed comes twice in {list(self.seeds)}')

    @classmethod
    def of_configs(cls, paths: Sequence[str], options: Mapping,
                   **given) -> 'Study':
        """The study of some configs, without ceilings.

        Args:
            paths (Sequence[str]): Paths of the configs.
            options (Mapping): Settings that override those of the configs.
            **given: Further arguments of :class:`Study`.

        Raises:
            ValueError: If two configs have the same name.
        """
        names = [config_name(path) for path in paths]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise ValueError(f'several configs are called {sorted(twice)}: '
                             'compare them in a study, under other names')
        variants = {
            name: Variant(path, dict(options))
            for name, path in zip(names, paths)
        }
        return cls(
            variants, **{
                'seeds': [0, 1, 2],
                'work_dir': 'work_dirs/compare_seeds',
                **given
            })

    @classmethod
    def from_file(cls, path: str, options: Mapping, **given) -> 'Study':
        """The study of a file, as those of configs/studies.

        Args:
            path (str): Path of the file.
            options (Mapping): Settings that override those of all variants.
            **given: Arguments of :class:`Study` in place of the file's.

        Raises:
            ValueError: If a key or name of the file is unknown, missing or
                comes twice.
        """
        cfg = Config.fromfile(path).to_dict()
        check_keys(cfg, STUDY_KEYS, path)
        cfg = {**cfg, **given}
        for key in ('seeds', 'variants'):
            if not cfg.get(key):
                raise ValueError(f'{path} names no {key}')
        variants = {
            name: read_variant(name, entry, cfg, path, options)
            for name, entry in cfg['variants'].items()
        }
        return cls(
            variants,
            cfg['seeds'],
            cfg.get('work_dir') or osp.join('work_dirs/studies',
                                            config_name(path)),
            cfg.get('baseline'),
            add_ceilings(variants, cfg.get('ceilings'), path),
            cfg.get('metric'))

    def select(self, names: Iterable[str]) -> 'Study':
        """The study of some variants, its baseline and its ceilings.

        Raises:
            ValueError: If no variant has one of the names.
        """
        unknown = set(names) - set(self.variants)
        if unknown:
            raise ValueError(f'--variants {sorted(unknown)}: the variants are '
                             f'{list(self.variants)}')
        keep = {*names, *self.ceilings.values(), self.baseline}
        return replace(
            self,
            variants={k: v for k, v in self.variants.items() if k in keep})


def read_variant(name: str, entry: Mapping, study: Mapping, path: str,
                 options: Mapping) -> Variant:
    """A variant of the file of a study.

    Args:
        name (str): Its name.
        entry (Mapping): What the file says of it.
        study (Mapping): What the file says of all variants.
        path (str): Path of the file, which paths in it are relative to.
        options (Mapping): Settings that override both.

    Raises:
        ValueError: If it cannot be called so, or has no config or unknown
            keys.
    """
    where = f'{path}: variants[{name!r}]'
    if osp.basename(name) != name or not name:
        raise ValueError(f'{where}: a name is one of a folder, too')
    check_keys(entry, VARIANT_KEYS, where)
    config = entry.get('config', study.get('config'))
    if config is None:
        raise ValueError(f'{where} names no config, and neither does the '
                         'study')
    return Variant(
        osp.normpath(osp.join(osp.dirname(path), config)),
        merge_options(
            study.get('options', {}), entry.get('options', {}), options),
        entry.get('only'))


def merge_options(*layers: Mapping) -> dict:
    """Settings of which the later ones override the earlier ones.

    Args:
        *layers (Mapping): Settings by key, such as ``'train_cfg.max_iters'``,
            or in the dict of a key, such as ``'train_cfg'``.

    Returns:
        dict: What has the same effect as to merge one after the other, as
        dicts within each other.
    """
    merged: dict = {}
    for layer in layers:
        for key, value in layer.items():
            for name in reversed(key.split('.')):
                value = {name: value}
            merged = _merged(merged, value)
    return merged


def _merged(old: Any, new: Any) -> Any:
    """What MMEngine makes of a value that another one is merged into."""
    if not isinstance(new, Mapping) or new.get('_delete_'):
        return new
    if isinstance(old, list) and all(key.isdigit() for key in new):
        old = list(old)
        for key, value in new.items():
            old[int(key)] = _merged(old[int(key)], value)
        return old
    if not isinstance(old, Mapping):
        return new
    return {
        **old, **{
            key: _merged(old.get(key), value)
            for key, value in new.items()
        }
    }


def add_ceilings(variants: Dict[str, Variant], joint: Optional[str],
                 path: str) -> Dict[str, str]:
    """Add to the variants one for each modality of a variant alone.

    Args:
        variants (dict[str, Variant]): The variants, changed in place.
        joint (str, optional): Name of the variant; None adds nothing.
        path (str): Path of the file of the study.

    Returns:
        dict[str, str]: Modality to the name of its ceiling.

    Raises:
        ValueError: If there is no such variant, one has the name of a
            ceiling, or as :func:`keep_modality`.
    """
    ceilings: Dict[str, str] = {}
    if joint is None:
        return ceilings
    if joint not in variants:
        raise ValueError(f'{path}: ceilings is {joint!r}, but the variants '
                         f'are {list(variants)}')
    variant = variants[joint]
    for modality in modalities_of(variant.load('.')):
        ceilings[modality] = name = f'{modality}_alone'
        if name in variants:
            raise ValueError(f'{path}: variants[{name!r}] has the name of a '
                             'ceiling: choose another one')
        variants[name] = replace(variant, only=modality)
        variants[name].load('.')  # what cannot be trained alone says so now
    return ceilings


def config_name(path: str) -> str:
    """The name of a config, that of its file without the suffix."""
    return osp.splitext(osp.basename(path))[0]


def keep_modality(cfg: Config, name: str) -> None:
    """Make a config one of a single modality, in place.

    What changes the colours of another one is left out of the pipelines.

    Raises:
        ValueError: If nothing in the config has a modality of this name, or
            another one gives it its size.
    """
    names = {
        n for _, part in walk_dicts(cfg._cfg_dict)
        for key in ('modalities', 'branches')
        if isinstance(part.get(key), Mapping) for n in part[key]
    }
    if name not in names:
        raise ValueError(f'{cfg.filename} has no modality {name!r}')
    for path, part in walk_dicts(cfg._cfg_dict):
        for key in BY_MODALITY:
            value = part.get(key)
            if isinstance(value, Mapping) and names.issuperset(value):
                part[key] = type(value)(
                    {n: v for n, v in value.items() if n == name})
            elif isinstance(value, (list, tuple)) and name in value:
                part[key] = [name]
        if type_name(part) == 'RandomDropModality':
            part.pop('weights', None)  # there is nothing to choose from
        if part.get('resize_to', name) not in (name, None):
            raise ValueError(
                f'{cfg.filename}: {path}.resize_to={part["resize_to"]!r} '
                f'gives {name!r} a size that is not known without it, so '
                f'{name!r} cannot be trained alone: resize the files, or '
                'leave out the ceilings')
    for _, part in walk_dicts(cfg._cfg_dict):
        for key, value in part.items():
            if key.endswith('pipeline') and isinstance(value, list):
                part[key] = _without_other_colours(value, name)
    for key in ('val_cfg', 'test_cfg'):
        # They may name combinations and modalities that there no longer are.
        for option in ('combinations', 'faults'):
            (cfg.get(key) or {}).pop(option, None)


def _without_other_colours(steps: Sequence, name: str,
                           stock: bool = False) -> list:
    """A pipeline for a single modality.

    Args:
        steps (Sequence): Configs of transforms, or lists of them.
        name (str): The modality.
        stock (bool): Whether photometric transforms act on ``rgb``, as they
            do where ``mwam_mm.multimodal`` holds them. Defaults to False.
    """
    kept = []
    for step in steps:
        if isinstance(step, (list, tuple)):
            step = _without_other_colours(step, name, stock)
        elif isinstance(step, dict):
            kind = type_name(step)
            acts_on = name
            if kind == 'PhotometricTransforms':
                acts_on = step.get('modality', 'rgb')
            elif stock and kind in PHOTOMETRIC:
                acts_on = 'rgb'
            if acts_on != name:
                continue
            inner = step.get('transforms')
            if isinstance(inner, (list, tuple)):
                step['transforms'] = _without_other_colours(
                    inner, name, stock or kind in MULTIMODAL)
                if not step['transforms']:
                    continue
        kept.append(step)
    return kept


def check_keys(found: Mapping, known: Sequence[str], where: str) -> None:
    unknown = set(found) - set(known)
    if unknown:
        raise ValueError(f'{where} has {sorted(unknown)}; known are '
                         f'{list(known)}')


def modalities_of(cfg: Config) -> Sequence[str]:
    """The modalities of a config's model.

    Raises:
        ValueError: If the model does not say.
    """
    for _, part in walk_dicts(cfg.model.to_dict()):
        if isinstance(part.get('modalities'), Mapping):
            return ModalityLayout(part['modalities']).names
    raise ValueError(f'{cfg.filename} has a model without modalities, so '
                     'there are no ceilings')
