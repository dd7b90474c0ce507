"""Backbones with one branch per modality."""
from .branch_outputs import (
    BranchOutputs,
    Features,
    flatten_levels,
    map_levels,
    nest_levels,
)
from .esanet import ESANetBackbone
from .multi_modal_backbone import MultiModalBackbone

__all__ = [
    'BranchOutputs', 'ESANetBackbone', 'Features', 'MultiModalBackbone',
    'flatten_levels', 'map_levels', 'nest_levels'
]
