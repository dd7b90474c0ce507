"""The MWAM neck wrapper and the fusions it is built with."""
from .fusions import ConcatFusion, GatedFusion, MeanVarFusion, SumFusion
from .mwam_neck import MWAMNeck

__all__ = [
    'ConcatFusion', 'GatedFusion', 'MWAMNeck', 'MeanVarFusion', 'SumFusion'
]
