"""Registries of mwam_mm: children of the MMEngine root registries.

Every node knows where its modules are defined, so ``type='mwam_mm.X'`` is
found from any ``default_scope`` without ``custom_imports``.
"""
# isort: off
from .stack import check_stack

check_stack()
# isort: on

from mmengine.registry import DATASETS as MMENGINE_DATASETS
from mmengine.registry import HOOKS as MMENGINE_HOOKS
from mmengine.registry import LOOPS as MMENGINE_LOOPS
from mmengine.registry import METRICS as MMENGINE_METRICS
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import (
    OPTIM_WRAPPER_CONSTRUCTORS as MMENGINE_OPTIM_WRAPPER_CONSTRUCTORS,
)
from mmengine.registry import TRANSFORMS as MMENGINE_TRANSFORMS
from mmengine.registry import VISUALIZERS as MMENGINE_VISUALIZERS
from mmengine.registry import Registry

__all__ = [
    'DATASETS', 'FAULTS', 'HOOKS', 'INTERVENTIONS', 'LOOPS', 'METRICS',
    'MODELS', 'OPTIM_WRAPPER_CONSTRUCTORS', 'TRANSFORMS', 'VISUALIZERS',
    'WEIGHERS'
]

_SCOPE = 'mwam_mm'

HOOKS = Registry(
    'hook',
    parent=MMENGINE_HOOKS,
    scope=_SCOPE,
    locations=['mwam_mm.engine'])
LOOPS = Registry(
    'loop',
    parent=MMENGINE_LOOPS,
    scope=_SCOPE,
    locations=['mwam_mm.engine'])
OPTIM_WRAPPER_CONSTRUCTORS = Registry(
    'optimizer wrapper constructor',
    parent=MMENGINE_OPTIM_WRAPPER_CONSTRUCTORS,
    scope=_SCOPE,
    locations=['mwam_mm.engine'])
METRICS = Registry(
    'metric',
    parent=MMENGINE_METRICS,
    scope=_SCOPE,
    locations=['mwam_mm.evaluation.metrics'])
MODELS = Registry(
    'model',
    parent=MMENGINE_MODELS,
    scope=_SCOPE,
    locations=['mwam_mm.models', 'mwam_mm.convert'])
DATASETS = Registry(
    'dataset',
    parent=MMENGINE_DATASETS,
    scope=_SCOPE,
    locations=['mwam_mm.datasets'])
TRANSFORMS = Registry(
    'transform',
    parent=MMENGINE_TRANSFORMS,
    scope=_SCOPE,
    locations=['mwam_mm.datasets.transforms', 'mwam_mm.convert'])
VISUALIZERS = Registry(
    'visualizer',
    parent=MMENGINE_VISUALIZERS,
    scope=_SCOPE,
    locations=['mwam_mm.visualization.visualizers'])
# MMEngine has no registries of these kinds, so they are roots of their own.
WEIGHERS = Registry('weigher', scope=_SCOPE, locations=['mwam_mm.balance'])
INTERVENTIONS = Registry(
    'intervention', scope=_SCOPE, locations=['mwam_mm.balance'])
FAULTS = Registry('fault', scope=_SCOPE, locations=['mwam_mm.evaluation'])
