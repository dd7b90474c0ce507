"""Backbones with one branch per modality."""
from .esanet import ESANetBackbone
from .multi_modal_backbone import (
    BranchOutputs,
    Features,
    MultiModalBackbone,
    flatten_levels,
    map_levels,
    nest_levels,
)

__all__ = [
    'BranchOutputs', 'ESANetBackbone', 'Features', 'MultiModalBackbone',
    'flatten_levels', 'map_levels', 'nest_levels'
]
