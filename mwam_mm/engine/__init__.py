"""Hooks and loops."""
from .missing_modality_loops import (
                                     MissingModalityTestLoop,
                                     MissingModalityValLoop,
)
from .mwam_hook import MWAMHook

__all__ = ['MWAMHook', 'MissingModalityTestLoop', 'MissingModalityValLoop']
