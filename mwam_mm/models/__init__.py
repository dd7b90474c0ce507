"""Models: multimodal backbone, fusing neck, data preprocessors."""
from .backbones import MultiModalBackbone
from .data_preprocessors import MultiModalSegDataPreprocessor
from .necks import ConcatFusion, GatedFusion, MWAMNeck, SumFusion

__all__ = [
    'ConcatFusion', 'GatedFusion', 'MWAMNeck', 'MultiModalBackbone',
    'MultiModalSegDataPreprocessor', 'SumFusion'
]
