"""Weighers: from the signal of a forward to the weights K."""
from .base import Weigher
from .constant import Constant
from .mwam import MWAMWeigher

__all__ = ['Constant', 'MWAMWeigher', 'Weigher']
