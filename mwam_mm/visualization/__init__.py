"""Figures."""
from .backends import give_portable_names, portable_name
from .comparison_plot import plot_comparison
from .missing_modality_plot import plot_missing_modality, with_arrow
from .panels import (
    distinct_palette,
    draw_boxes,
    draw_labels,
    draw_sample,
    modality_picture,
    panel,
)

__all__ = [
    'distinct_palette', 'draw_boxes', 'draw_labels', 'draw_sample',
    'give_portable_names', 'modality_picture', 'panel', 'plot_comparison',
    'plot_missing_modality', 'portable_name', 'with_arrow'
]
