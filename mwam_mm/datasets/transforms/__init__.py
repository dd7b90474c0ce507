"""Pipeline transforms for stacked multimodal images."""
from mwam_mm.stack import has_segmentation

from .clip import FlipClip, LoadClip
from .geometric import FillWithMean
from .loading import LoadModalities
from .modality_drop import DropModality, RandomDropModality
from .photometric import PhotometricTransforms
from .pipeline import check_pipeline, keep_absent, pack_paths

__all__ = [
    'DropModality', 'FillWithMean', 'FlipClip', 'LoadClip', 'LoadModalities',
    'PhotometricTransforms', 'RandomDropModality', 'check_pipeline',
    'keep_absent', 'pack_paths'
]

if has_segmentation():
    from .palette_annotations import LoadPaletteAnnotations

    __all__ += ['LoadPaletteAnnotations']
