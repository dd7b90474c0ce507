"""Check how a config names the classes of this package."""
from difflib import get_close_matches
from typing import List, Mapping

from mmengine.registry import Registry

from . import registry as registries
from .config import class_of, walk_dicts

__all__ = ['check_type_names']


def check_type_names(cfg: Mapping) -> None:
    """Check the names of this package's classes in a config.

    Of a name without the prefix MMEngine says no more than that it is not in
    a registry.

    Args:
        cfg (Mapping): The config, whose ``custom_imports`` are done.

    Raises:
        ValueError: If a ``type`` lacks the prefix ``mwam_mm.``, or has it and
            is misspelt. The message names the key and the right name.
    """
    scope = cfg.get('default_scope')
    if scope == 'mwam_mm':
        return
    ours = _registries()
    names = sorted(set().union(*(r.module_dict for r in ours)))
    for key, part in walk_dicts(dict(cfg.items())):
        type_ = part.get('type')
        if not isinstance(type_, str):
            continue
        prefix, _, name = type_.rpartition('.')
        if not prefix:
            part = dict(part, _scope_=part.get('_scope_', scope))
            right = name if _needs_prefix(part, ours) else None
        elif prefix == 'mwam_mm' and name not in names:
            right = next(iter(get_close_matches(name, names, 1, 0.8)), None)
        else:
            right = None
        if right is not None:
            where = f'{key}.type' if key else 'type'
            raise ValueError(f"{where}='{type_}' is not known; the class is "
                             f"called 'mwam_mm.{right}'")


def _registries() -> List[Registry]:
    """The registries of this package, filled."""
    found = [getattr(registries, name) for name in registries.__all__]
    for registry in found:
        registry.import_from_location()
    return found


def _needs_prefix(cfg: Mapping, ours: List[Registry]) -> bool:
    """Whether only this package has the class that a config names.

    Registries without a parent are looked into without a prefix.
    """
    name = cfg['type']
    return any(
        name in registry.module_dict
        and class_of(cfg, registry.parent) is None for registry in ours
        if registry.parent is not None)
