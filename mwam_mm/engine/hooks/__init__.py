"""Hooks."""
from .balance_hook import BalanceHook
from .data_check_hook import DataCheckHook
from .mwam_hook import MWAMHook
from .random_state_hook import RandomStateHook
from .visualization_hook import (
    MultiModalVisualizationHook,
    draw_what_is_loaded,
)

__all__ = [
    'BalanceHook', 'DataCheckHook', 'MWAMHook', 'MultiModalVisualizationHook',
    'RandomStateHook', 'draw_what_is_loaded'
]
