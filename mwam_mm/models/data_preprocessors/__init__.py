"""Data preprocessors for stacked images."""
from .seg_data_preprocessor import MultiModalSegDataPreprocessor

__all__ = ['MultiModalSegDataPreprocessor']
