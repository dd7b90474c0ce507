"""Prediction without a dataset."""
from .inferencer import MultiModalInferencer
from .model import init_model

__all__ = ['MultiModalInferencer', 'init_model']
