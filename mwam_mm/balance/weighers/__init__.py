"""Weighers: from the signal of a forward to the weights K."""
from .agm import AGM
from .base import Weigher
from .constant import Constant
from .mses import MSES
from .mslr import MSLR
from .mwam import MWAMWeigher
from .ogm import OGM
from .opm import OPM

__all__ = [
    'AGM', 'Constant', 'MSES', 'MSLR', 'MWAMWeigher', 'OGM', 'OPM', 'Weigher'
]
