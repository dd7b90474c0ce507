"""Backbones with one branch per modality."""
from .multi_modal_backbone import BranchOutputs, MultiModalBackbone

__all__ = ['BranchOutputs', 'MultiModalBackbone']
