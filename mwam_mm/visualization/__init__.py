"""Figures."""
from .missing_modality_plot import plot_missing_modality, with_arrow

__all__ = ['plot_missing_modality', 'with_arrow']
