"""Models: multimodal backbone, fusing neck, data preprocessors."""
from .backbones import ESANetBackbone, MultiModalBackbone
from .data_preprocessors import *  # noqa: F401,F403
from .modality_heads import with_modality_heads
from .necks import (
    ConcatFusion,
    GatedFusion,
    MeanVarFusion,
    MWAMNeck,
    SumFusion,
)

__all__ = [
    'ConcatFusion', 'ESANetBackbone', 'GatedFusion', 'MWAMNeck',
    'MeanVarFusion', 'MultiModalBackbone', 'SumFusion', 'with_modality_heads'
]
