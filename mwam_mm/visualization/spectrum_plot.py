"""Plot of the modalities' spectra."""
from typing import Mapping

from matplotlib.figure import Figure
from torch import Tensor

__all__ = ['plot_spectra']

_COLORS = ('#c8553d', '#1b4965', '#e0a030', '#5b8c5a')


def plot_spectra(spectra: Mapping[str, Mapping[str, Tensor]]) -> Figure:
    """Draw how large each modality's coefficients are by frequency.

    One panel per dataset. Shaded are the frequencies of the low and the high
    band, whose ratio FRM is, for bands of 2 x 2 coefficients.

    Args:
        spectra (Mapping): Name of each dataset to a mapping from modality to
            its spectrum, of shape (N, ), see
            :func:`mwam_mm.mwam.dct.spectrum`.

    Returns:
        matplotlib.figure.Figure: The figure, on no pyplot state; save it by
        ``figure.savefig(path)``.
    """
    figure = Figure(
        figsize=(4.2 * len(spectra), 3.4), dpi=150, layout='constrained')
    axes = figure.subplots(1, len(spectra), squeeze=False)[0]
    for axis, (title, curves) in zip(axes, spectra.items()):
        for color, (name, curve) in zip(_COLORS, curves.items()):
            axis.plot(range(len(curve)), curve.cpu(), '.-', color=color,
                      label=name)
        last = len(curve) - 1
        for start, end, text in ((0, 2, 'low'), (last - 2, last, 'high')):
            axis.axvspan(start - .3, end + .3, color='#62a8c8', alpha=0.2,
                         linewidth=0)
            axis.annotate(text, ((start + end) / 2, 0.02), ha='center',
                          xycoords=('data', 'axes fraction'), fontsize=8)
        axis.set_yscale('log')
        axis.set_title(title, fontsize=10)
        axis.set_xlabel('frequency, vertical + horizontal')
        axis.grid(alpha=0.3)
        axis.spines[['top', 'right']].set_visible(False)
        axis.legend(fontsize=8)
    axes[0].set_ylabel('mean |coefficient|')
    return figure
