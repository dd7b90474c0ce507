"""Hooks and loops."""
from .missing_modality_loops import (
                                     MissingModalityTestLoop,
                                     MissingModalityValLoop,
)
from .multimodal_optim_wrapper_constructor import (
    MultiModalOptimWrapperConstructor,
)
from .mwam_hook import MWAMHook

__all__ = [
    'MWAMHook', 'MissingModalityTestLoop', 'MissingModalityValLoop',
    'MultiModalOptimWrapperConstructor'
]
