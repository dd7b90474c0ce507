"""Models: multimodal backbone, fusing neck, data preprocessors."""
from .backbones import ESANetBackbone, MultiModalBackbone
from .data_preprocessors import *  # noqa: F401,F403
from .modality_heads import with_modality_heads
from .multimodal import multimodal
from .necks import (
    ConcatFusion,
    GatedFusion,
    MeanVarFusion,
    MWAMNeck,
    SumFusion,
)

__all__ = [
    'ConcatFusion', 'ESANetBackbone', 'GatedFusion', 'MWAMNeck',
    'MeanVarFusion', 'MultiModalBackbone', 'SumFusion', 'multimodal',
    'with_modality_heads'
]
