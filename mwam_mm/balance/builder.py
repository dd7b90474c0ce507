"""Build weighers and interventions from configs."""
from typing import Any, Dict, Mapping, Sequence, Union

from mmengine.registry import DefaultScope, Registry

from mwam_mm.config import type_name
from mwam_mm.registry import INTERVENTIONS, WEIGHERS

from .interventions import Intervention
from .weighers import Weigher

__all__ = ['Interventions', 'build_interventions', 'build_weigher']

#: One or several interventions, each a name or a config.
Interventions = Union[str, dict, Sequence[Union[str, dict]]]


def build_weigher(cfg: Union[str, dict], modalities: Sequence[str]) -> Weigher:
    """Build a weigher.

    Args:
        cfg (str | dict): Its name, or its config without ``modalities``.
        modalities (Sequence[str]): The modalities' names.
    """
    cfg = dict(type=cfg) if isinstance(cfg, str) else cfg
    return _build(WEIGHERS, dict(cfg, modalities=modalities))


def build_interventions(interventions: Interventions,
                        where: str) -> Dict[str, Intervention]:
    """Build the interventions that a config names.

    Args:
        interventions (str | dict | list): One or several, each a name or a
            config.
        where (str): The config key, for the error messages.

    Returns:
        dict[str, Intervention]: Name to intervention, in the given order.

    Raises:
        ValueError: If there is none, one without ``type``, an unknown one, or
            one twice.
    """
    if isinstance(interventions, (str, Mapping)):
        interventions = [interventions]
    where = f'{where}={interventions!r}'
    cfgs = [dict(type=cfg) if isinstance(cfg, str) else dict(cfg)
            for cfg in interventions]
    INTERVENTIONS.import_from_location()
    known = sorted(INTERVENTIONS.module_dict)
    # A config may hold the class, which others still know by its name.
    of_class = {cls: name for name, cls in INTERVENTIONS.module_dict.items()}
    if not all('type' in cfg for cfg in cfgs):
        raise ValueError(f'{where} has a config without type, which is one of '
                         f'{known}')
    names = [of_class.get(cfg['type'], type_name(cfg)) for cfg in cfgs]
    if not names:
        raise ValueError(f'{where} is empty: name one or several of {known}')
    unknown = [name for name, cfg in zip(names, cfgs)
               if isinstance(cfg['type'], str) and name not in known]
    if unknown:
        raise ValueError(f'{where} names {unknown}; known are {known}')
    if len(set(names)) < len(names):
        raise ValueError(f'{where} names one twice')
    return {name: _build(INTERVENTIONS, cfg)
            for name, cfg in zip(names, cfgs)}


def _build(registry: Registry, cfg: dict) -> Any:
    # MMEngine would look for the scope of the job, which has no part in these
    # registries, and warn that it is not there.
    with DefaultScope.overwrite_default_scope(registry.scope):
        return registry.build(cfg)
