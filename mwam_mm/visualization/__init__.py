"""Figures."""
from .backends import give_portable_names, portable_name
from .balance_plot import plot_balance, read_log
from .comparison_plot import plot_comparison
from .missing_modality_plot import plot_missing_modality, with_arrow
from .panels import (
    distinct_palette,
    draw_boxes,
    draw_columns,
    draw_labels,
    draw_sample,
    modality_picture,
    panel,
)
from .spectrum_plot import plot_spectra

__all__ = [
    'distinct_palette', 'draw_boxes', 'draw_columns', 'draw_labels',
    'draw_sample', 'give_portable_names', 'modality_picture', 'panel',
    'plot_balance', 'plot_comparison', 'plot_missing_modality', 'plot_spectra',
    'portable_name', 'read_log', 'with_arrow'
]
