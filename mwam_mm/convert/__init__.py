"""Stock configs and pipelines made multimodal.

Modules of a config are built by :func:`multimodal`, which is registered for
models and for pipelines; :mod:`mwam_mm.convert.job` writes a whole config.
"""
from .model import multimodal
from .pipeline import multimodal_pipeline, multimodal_transforms

__all__ = ['multimodal', 'multimodal_pipeline', 'multimodal_transforms']
