"""Hooks."""
from .balance_hook import BalanceHook
from .mwam_hook import MWAMHook
from .random_state_hook import RandomStateHook

__all__ = ['BalanceHook', 'MWAMHook', 'RandomStateHook']
