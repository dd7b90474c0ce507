"""Datasets and their transforms."""
from .multi_modal_seg import MultiModalSegDataset
from .potholes import PotholeDataset
from .scene_dataset import SceneDataset
from .transforms import *  # noqa: F401,F403

__all__ = ['MultiModalSegDataset', 'PotholeDataset', 'SceneDataset']
