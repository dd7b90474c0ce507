"""Data preprocessors for stacked images."""
from mwam_mm.stack import has_detection, has_segmentation

__all__ = []

if has_segmentation():
    from .seg_data_preprocessor import MultiModalSegDataPreprocessor

    __all__ += ['MultiModalSegDataPreprocessor']

if has_detection():
    from .det_data_preprocessor import MultiModalDetDataPreprocessor

    __all__ += ['MultiModalDetDataPreprocessor']
