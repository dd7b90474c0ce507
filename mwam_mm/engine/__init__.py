"""Hooks, loops and the constructor of optimizers."""
from .hooks import (
    BalanceHook,
    DataCheckHook,
    MultiModalVisualizationHook,
    MWAMHook,
    RandomStateHook,
)
from .missing_modality_loops import (
    MissingModalityTestLoop,
    MissingModalityValLoop,
)
from .multimodal_optim_wrapper_constructor import (
    MultiModalOptimWrapperConstructor,
)

__all__ = [
    'BalanceHook', 'DataCheckHook', 'MWAMHook', 'MissingModalityTestLoop',
    'MissingModalityValLoop', 'MultiModalOptimWrapperConstructor',
    'MultiModalVisualizationHook', 'RandomStateHook'
]
