"""The MWAM neck wrapper and the fusions it is built with."""
from .fusions import (
    ConcatFusion,
    Fusion,
    GatedFusion,
    MeanVarFusion,
    SumFusion,
)
from .mwam_neck import MWAMNeck

__all__ = [
    'ConcatFusion', 'Fusion', 'GatedFusion', 'MWAMNeck', 'MeanVarFusion',
    'SumFusion'
]
