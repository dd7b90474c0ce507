"""Figures."""
from .comparison_plot import plot_comparison
from .missing_modality_plot import plot_missing_modality, with_arrow

__all__ = ['plot_comparison', 'plot_missing_modality', 'with_arrow']
