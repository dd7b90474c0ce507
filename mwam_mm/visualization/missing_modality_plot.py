"""Bar plot of a missing-modality report."""
from typing import Mapping

from matplotlib.figure import Figure

__all__ = ['plot_missing_modality', 'with_arrow']

_FULL, _INCOMPLETE, _LINE = '#1b4965', '#62a8c8', '#c8553d'


def with_arrow(metric: str, report: Mapping) -> str:
    """Name of a metric, with the arrow ↓ if lower is better.

    Args:
        metric (str): The metric.
        report (Mapping): What :func:`mwam_mm.evaluation.build_report`
            returns.
    """
    lower = report['higher_is_better'].get(metric) is False
    return f'{metric} ↓' if lower else metric


def plot_missing_modality(report: Mapping) -> Figure:
    """Draw the score of every modality combination as a bar.

    One panel per metric that the report gives the PCR of. Incomplete
    combinations carry their PCR; a dashed line marks the average, full
    combination included. An undefined score has no bar and is marked "n/a".

    Args:
        report (Mapping): What :func:`mwam_mm.evaluation.build_report`
            returns.

    Returns:
        matplotlib.figure.Figure: The figure, on no pyplot state; save it by
        ``figure.savefig(path)``.
    """
    metrics = list(report['avg']['PCR'])
    combinations = report['combinations']
    width = max(4.5, 1.5 + 0.9 * len(combinations))
    figure = Figure(
        figsize=(width * len(metrics), 4), dpi=150, layout='constrained')
    axes = figure.subplots(1, len(metrics), squeeze=False)[0]
    for axis, metric in zip(axes, metrics):
        scores = [c['metrics'][metric] for c in combinations.values()]
        changes = [c.get('PCR', {}).get(metric) for c in combinations.values()]
        average = report['avg']['metrics'][metric]
        axis.bar(
            range(len(scores)), [score or 0 for score in scores],
            width=0.7,
            color=[
                _INCOMPLETE if 'PCR' in c else _FULL
                for c in combinations.values()
            ])
        for i, (score, change) in enumerate(zip(scores, changes)):
            label = 'n/a' if score is None else f'{score:.4g}'
            if change is not None:
                label += f'\nPCR {change:.1f} %'
            axis.annotate(
                label, (i, max(score or 0, 0)),
                xytext=(0, 3),
                textcoords='offset points',
                ha='center',
                va='bottom',
                fontsize=8,
                bbox=dict(facecolor='white', edgecolor='none', pad=0.5))
        if average is not None:
            axis.axhline(average, color=_LINE, linestyle='--', linewidth=1)
            change = report['avg']['PCR'][metric]
            axis.set_title(
                f'average {average:.4g}' +
                ('' if change is None else f', PCR {change:.1f} %'),
                loc='left',
                color=_LINE,
                fontsize=9)
        axis.set_xticks(
            range(len(scores)),
            combinations,
            rotation=30 if len(scores) > 4 else 0,
            ha='right' if len(scores) > 4 else 'center')
        axis.set_ylabel(with_arrow(metric, report))
        axis.margins(y=0.18)
        axis.spines[['top', 'right']].set_visible(False)
    return figure
