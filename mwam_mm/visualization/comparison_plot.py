"""Plot of trainings compared over seeds."""
from typing import Mapping

from matplotlib.figure import Figure

__all__ = ['plot_comparison']

_POINTS, _MEAN, _LINE = '#62a8c8', '#1b4965', '#c8553d'


def plot_comparison(comparison: Mapping) -> Figure:
    """Draw every seed's score as a point, with mean and interval.

    One panel per column, one line per row. A dashed line in the panel of a
    modality is the mean of its ceiling, what a model of this modality alone
    reaches. An undefined score has no point.

    Args:
        comparison (Mapping): What
            :func:`mwam_mm.evaluation.build_comparison` returns.

    Returns:
        matplotlib.figure.Figure: The figure, on no pyplot state; save it by
        ``figure.savefig(path)``.
    """
    rows, columns = comparison['rows'], comparison['columns']
    figure = Figure(
        figsize=(2.5 + 2.2 * len(columns), 1.2 + 0.32 * len(rows)),
        dpi=150,
        layout='constrained')
    axes = figure.subplots(1, len(columns), squeeze=False, sharey=True)[0]
    for axis, column in zip(axes, columns):
        for i, entries in enumerate(rows.values()):
            entry = entries.get(column)
            if entry is None:
                continue
            values = [v for v in entry['values'].values() if v is not None]
            axis.plot(
                values, [i] * len(values), 'o', color=_POINTS, markersize=4)
            interval = entry['interval']
            if interval is None:
                continue
            axis.plot(interval['mean'], i, '|', color=_MEAN, markersize=11)
            if interval['low'] is not None:
                axis.hlines(i, interval['low'], interval['high'], color=_MEAN)
        ceiling = rows.get(comparison['ceilings'].get(column), {}).get(column)
        if ceiling and ceiling['mean'] is not None:
            axis.axvline(ceiling['mean'], color=_LINE, linestyle='--')
        axis.set_title(column, fontsize=9)
        axis.grid(axis='x', alpha=0.3)
        axis.spines[['top', 'right']].set_visible(False)
    axes[0].set_yticks(range(len(rows)), rows)
    axes[0].invert_yaxis()
    figure.supxlabel(
        f'{comparison["metric"]}; bars: {100 * comparison["confidence"]:g} % '
        'interval of the mean', fontsize=9)
    return figure
