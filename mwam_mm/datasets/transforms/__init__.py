"""Pipeline transforms for stacked multimodal images."""
from .geometric import FillWithMean
from .loading import LoadModalities, LoadPaletteAnnotations
from .modality_drop import DropModality, RandomDropModality
from .multimodal_pipeline import multimodal_pipeline, multimodal_transforms
from .photometric import PhotometricTransforms
from .pipeline import check_pipeline

__all__ = [
    'DropModality', 'FillWithMean', 'LoadModalities',
    'LoadPaletteAnnotations', 'PhotometricTransforms', 'RandomDropModality',
    'check_pipeline', 'multimodal_pipeline', 'multimodal_transforms'
]
