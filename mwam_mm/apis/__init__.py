"""Prediction without a dataset, and models for other programs."""
from .export import SingleCombination, export_model, onnx_difference
from .inferencer import MultiModalInferencer
from .model import init_model

__all__ = [
    'MultiModalInferencer', 'SingleCombination', 'export_model', 'init_model',
    'onnx_difference'
]
