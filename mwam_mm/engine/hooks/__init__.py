"""Hooks."""
from .balance_hook import BalanceHook
from .data_check_hook import DataCheckHook
from .mwam_hook import MWAMHook
from .random_state_hook import RandomStateHook

__all__ = ['BalanceHook', 'DataCheckHook', 'MWAMHook', 'RandomStateHook']
