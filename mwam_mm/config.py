"""Look into configs, and into the datasets and pipelines built from them.

Everything here takes a config and what was built from it alike, and needs
neither MMSegmentation nor MMDetection.
"""
import inspect
from collections.abc import Mapping
from typing import Any, Iterator, List, Optional, Sequence, Tuple

__all__ = [
    'class_of', 'dataset_of_tests', 'default_of', 'first_metainfo',
    'leaf_datasets', 'parameter_of', 'type_name', 'walk_datasets',
    'walk_dicts', 'walk_pipelines', 'walk_transforms', 'wrapped_datasets'
]

# Where wrappers of datasets hold the datasets.
_DATASETS = ('dataset', 'datasets')
# Where containers of transforms hold the transforms.
_TRANSFORMS_OF_CONFIG = ('transforms', 'policies', 'aug_space')
_TRANSFORMS_OF_OBJECT = ('transforms', 'subroutines', 'branch_pipelines')


def type_name(owner: Any) -> str:
    """Class name of a module, without scope or Python path.

    Args:
        owner (dict | object): The module's config, whose ``type`` is a class
            or a name with or without a scope or Python path, or the module
            itself.

    Returns:
        str: The name, '' for a config without ``type``.

    Examples:
        >>> type_name(dict(type='mmseg.PackSegInputs'))
        'PackSegInputs'
        >>> type_name(dict())
        ''
    """
    if not isinstance(owner, Mapping):
        return type(owner).__name__
    type_ = owner.get('type', '')
    return type_.split('.')[-1] if isinstance(type_, str) else type_.__name__


def class_of(cfg: Mapping, registry: Any) -> Any:
    """What a config's ``type`` names.

    Args:
        cfg (Mapping): The config of a module.
        registry (Registry): Where modules of its kind are registered.

    Returns:
        type | Callable | None: The class or function, None where the registry
        does not know it.
    """
    type_ = cfg['type']
    if not isinstance(type_, str):
        return type_
    with registry.switch_scope_and_registry(cfg.get('_scope_')) as scoped:
        return scoped.get(type_)


def parameter_of(cls: type, name: str) -> Optional[inspect.Parameter]:
    """A parameter of a class, which may be one that it passes on.

    Args:
        cls (type): The class.
        name (str): Name of the parameter.

    Returns:
        inspect.Parameter | None: The parameter, None if the class takes none
        of this name.
    """
    for base in cls.__mro__:
        parameters = inspect.signature(base.__init__).parameters
        if name in parameters:
            return parameters[name]
        if all(p.kind != p.VAR_KEYWORD for p in parameters.values()):
            return None
    return None


def default_of(cls: type, name: str) -> Any:
    """Default of a class's argument.

    Args:
        cls (type): The class.
        name (str): Name of the argument.

    Returns:
        Any: The default, None where the class takes no such argument.
    """
    parameter = parameter_of(cls, name)
    return None if parameter is None else parameter.default


def first_metainfo(metainfo: Any) -> Mapping:
    """The metainfo of a dataset.

    Args:
        metainfo (Mapping | Sequence[Mapping], optional): What a dataset, a
            checkpoint or an evaluator has. MMDetection's concatenation has a
            list if its datasets differ in anything.

    Returns:
        Mapping: It, or the first of the list; empty for None.
    """
    if isinstance(metainfo, (list, tuple)):
        metainfo = metainfo[0]
    return metainfo or {}


def walk_dicts(cfg: Any, path: str = '') -> Iterator[Tuple[str, dict]]:
    """Go through all dicts within a config, the outer ones first.

    Args:
        cfg (Any): A config, or a part of one.
        path (str): What its own path is called. Defaults to ''.

    Yields:
        tuple[str, dict]: The dotted path of a dict, and the dict. Its values
        may be changed meanwhile.
    """
    if isinstance(cfg, dict):
        yield path, cfg
        items = list(cfg.items())
    elif isinstance(cfg, (list, tuple)):
        items = list(enumerate(cfg))
    else:
        return
    for key, value in items:
        yield from walk_dicts(value, f'{path}.{key}' if path else str(key))


def wrapped_datasets(dataset: Any) -> List[Any]:
    """The datasets that a dataset wraps itself.

    Args:
        dataset (dict | Dataset): Config of a dataset, or a built one.

    Returns:
        list: The datasets, none of which needs to be a leaf.
    """
    wrapped: List[Any] = []
    for key in _DATASETS:
        value = _get(dataset, key)
        if isinstance(value, (list, tuple)):
            wrapped += value
        elif value is not None:
            wrapped.append(value)
    return wrapped


def walk_datasets(dataset: Any) -> Iterator[Any]:
    """Go through a dataset and the datasets that it wraps.

    Args:
        dataset (dict | Dataset | Sequence): Config of a dataset, a built one,
            or several of either.

    Yields:
        dict | Dataset: The datasets, each wrapper before what it wraps.
    """
    if isinstance(dataset, (list, tuple)):
        for part in dataset:
            yield from walk_datasets(part)
        return
    yield dataset
    yield from walk_datasets(wrapped_datasets(dataset))


def leaf_datasets(dataset: Any) -> Iterator[Any]:
    """The datasets of :func:`walk_datasets` that wrap no other.

    Args:
        dataset (dict | Dataset | Sequence): See :func:`walk_datasets`.

    Yields:
        dict | Dataset: The innermost datasets, in their order.
    """
    for part in walk_datasets(dataset):
        if not wrapped_datasets(part):
            yield part


def dataset_of_tests(cfg: Mapping) -> Mapping:
    """The dataset that a job is tested on.

    Args:
        cfg (Mapping): Config of the job.

    Returns:
        Mapping: Config of the first dataset for tests that wraps no other,
        where there is none of that for validation; empty without either.
    """
    for key in ('test_dataloader', 'val_dataloader'):
        dataset = (cfg.get(key) or {}).get('dataset')
        if dataset:
            return next(leaf_datasets(dataset))
    return {}


def walk_transforms(transforms: Any,
                    closed: Sequence[str] = ()) -> Iterator[Any]:
    """Go through transforms and those that containers hold.

    Containers are those of MMCV and MMDetection: ``Compose``, ``RandomApply``,
    ``RandomChoice``, ``TestTimeAug``, ``MultiBranch``, ``AutoAugment``, ...

    Args:
        transforms (dict | Callable | Sequence): Configs of transforms, or
            built ones.
        closed (Sequence[str]): Class names of containers that are not looked
            into. Defaults to none.

    Yields:
        dict | Callable: The transforms, each container before what it holds.
    """
    if isinstance(transforms, (list, tuple)):
        for transform in transforms:
            yield from walk_transforms(transform, closed)
        return
    yield transforms
    if type_name(transforms) not in closed:
        yield from walk_transforms(_held(transforms), closed)


def walk_pipelines(dataset: Any) -> Iterator[Any]:
    """Go through the transforms of a dataset and of those that it wraps.

    Args:
        dataset (dict | Dataset | Sequence): See :func:`walk_datasets`.

    Yields:
        dict | Callable: The transforms, see :func:`walk_transforms`.
    """
    for part in walk_datasets(dataset):
        yield from walk_transforms(_get(part, 'pipeline') or [])


def _get(owner: Any, key: str) -> Any:
    """A value of a config, an attribute of an object; None without it."""
    if isinstance(owner, Mapping):
        return owner.get(key)
    return getattr(owner, key, None)


def _held(container: Any) -> List[Any]:
    """The transforms that a container holds itself, in lists or not."""
    if not isinstance(container, Mapping):
        values = [_get(container, key) for key in _TRANSFORMS_OF_OBJECT]
        values = [
            list(value.values()) if isinstance(value, dict) else value
            for value in values
        ]
    elif type_name(container) == 'MultiBranch':
        # Each branch is an argument of its own.
        values = [
            value for key, value in container.items()
            if key not in ('type', '_scope_', 'branch_field')
        ]
    else:
        values = [container.get(key) for key in _TRANSFORMS_OF_CONFIG]
    return [value for value in values if value is not None]
