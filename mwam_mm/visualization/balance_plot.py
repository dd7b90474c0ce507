"""Curves of a training: weights, what they follow from, and the metric."""
import glob
import itertools
import json
import os.path as osp
import re
from math import isfinite
from numbers import Real
from typing import Dict, List, Mapping, Optional, Tuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

__all__ = ['PREFERRED_METRICS', 'choose_metric', 'plot_balance', 'read_log']

# Name of what was logged to its value by iteration.
Curves = Dict[str, Dict[int, float]]
# Title of a panel to run to label, a modality or a combination, to curve.
Panels = Dict[str, Dict[str, Dict[str, dict]]]

_WEIGHT = re.compile(r'(.+/)K_(.+)')
_COLORS = ('#c8553d', '#1b4965', '#e0a030', '#62a8c8', '#5b8c5a', '#8a5a83',
           '#333333', '#999999')
_STYLES = ('-', '--', ':', '-.')
# The metric that stands for the result where nobody names one.
PREFERRED_METRICS = ('mIoU', 'coco/bbox_mAP', 'pascal_voc/mAP',
                     'accuracy/top1')


def read_log(path: str) -> Curves:
    """Read what a training logged as JSON.

    Args:
        path (str): The work dir of the training, or one
            ``<date>_<time>/vis_data/<date>_<time>.json`` in it. The logs of a
            work dir are read in the order of their time: what a training
            logged after the iteration at which another one went on or began
            anew does not count.

    Returns:
        dict[str, dict[int, float]]: Name, such as ``mwam/K_rgb`` or
        ``rgb/mIoU``, to the value by iteration. Values that are no finite
        numbers are left out.

    Raises:
        FileNotFoundError: If there is no such log.
        ValueError: If the file is no log.
    """
    paths = [path]
    if osp.isdir(path):
        # The same lines lie in scalars.json.
        paths = sorted(
            p for p in glob.glob(osp.join(path, '*', 'vis_data', '*.json'))
            if osp.basename(p) == osp.basename(osp.dirname(osp.dirname(p)))
            + '.json')
    if not paths or not osp.isfile(paths[0]):
        raise FileNotFoundError(
            f'{path} is neither a log nor a work dir with '
            '<date>_<time>/vis_data/<date>_<time>.json')
    curves: Curves = {}
    for one in paths:
        entries = _entries(one)
        if not entries:
            continue
        start = entries[0][0]
        curves = {
            name: {i: v for i, v in curve.items() if i < start}
            for name, curve in curves.items()
        }
        for step, values in entries:
            for name, value in values.items():
                if isinstance(value, Real) and isfinite(value):
                    curves.setdefault(name, {})[step] = float(value)
    return {name: curve for name, curve in curves.items() if curve}


def _entries(path: str) -> List[Tuple[int, dict]]:
    """The lines of a log with the iteration of each."""
    entries, last = [], 0
    with open(path, encoding='utf-8') as f:
        for number, line in enumerate(f, 1):
            try:
                values = json.loads(line)
                step = values.pop('step')
            except (AttributeError, KeyError, TypeError, ValueError):
                raise ValueError(
                    f'line {number} of {path} is not one of a log: name the '
                    'work dir, or the JSON of the same name as the folder '
                    'that vis_data lies in') from None
            # A validation says the epoch, or 0, if not the iteration: it came
            # after the training that was logged last.
            last = max(last, step)
            entries.append((last, values))
    return entries


def choose_metric(curves: Curves) -> Optional[str]:
    """The metric to draw where nobody names one.

    Args:
        curves (dict): What :func:`read_log` returns.

    Returns:
        str | None: ``mIoU``, an mAP or the accuracy, None if none was logged.
    """
    for metric in PREFERRED_METRICS:
        if _by_combination(curves, metric):
            return metric
    return None


def _by_combination(curves: Curves, metric: str) -> Dict[str, dict]:
    """The curves of a metric by combination, or by '' without any."""
    found = {}
    for name, curve in curves.items():
        if name == metric:
            found[''] = curve
        elif name.endswith('/' + metric) and not name.startswith('emm_'):
            found[name[:-len(metric) - 1]] = curve
    return dict(sorted(
        found.items(), key=lambda item: (-item[0].count('+'), item[0] == 'avg')
    ))


def _by_modality(curves: Curves) -> Dict[str, Dict[str, dict]]:
    """Curves of K and of what the weigher tells, each by modality."""
    found: Dict[str, Dict[str, dict]] = {}
    weights = filter(None, map(_WEIGHT.fullmatch, curves))
    # The longest name first, as one may end in another.
    modalities = sorted((w.groups() for w in weights),
                        key=lambda groups: -len(groups[1]))
    for name, curve in curves.items():
        for prefix, modality in modalities:
            if name.startswith(prefix) and name.endswith('_' + modality):
                title = name[len(prefix):-len(modality) - 1]
                found.setdefault(title, {})[modality] = curve
                break
    return found


def _panels(runs: Mapping[str, Curves], metric: Optional[str]) -> Panels:
    """What is drawn: K first, the metric last."""
    panels: Panels = {}
    for run, curves in runs.items():
        for title, lines in _by_modality(curves).items():
            panels.setdefault(title, {})[run] = lines
    if 'K' in panels:
        panels = {'K': panels.pop('K'), **panels}
    if metric is not None:
        found = {
            run: _by_combination(curves, metric)
            for run, curves in runs.items()
        }
        if not any(found.values()):
            raise ValueError(
                f'no run has logged {metric!r}; they have '
                f'{sorted({n for curves in runs.values() for n in curves})}')
        panels[metric] = found
    if not panels:
        raise ValueError(f'the runs {list(runs)} have logged neither K nor '
                         f'any of {list(PREFERRED_METRICS)}')
    return panels


def _draw(axis: Axes, lines: Dict[str, Dict[str, dict]],
          styles: Mapping[str, str], colors: Mapping[str, str]) -> None:
    """Draw the curves of a panel, with their legend below."""
    for run, of_run in lines.items():
        for label, curve in of_run.items():
            steps = sorted(curve)
            axis.plot(
                steps, [curve[step] for step in steps],
                linestyle=styles[run],
                marker='.' if len(steps) < 20 else None,
                linewidth=1.3,
                color=colors[label])
    axis.set_xlabel('iteration')
    axis.grid(alpha=0.3)
    axis.spines[['top', 'right']].set_visible(False)
    labels = dict.fromkeys(
        label for of_run in lines.values() for label in of_run)
    if any(labels):
        axis.legend(
            [Line2D([], [], color=colors[label]) for label in labels],
            labels,
            loc='upper center',
            bbox_to_anchor=(0.5, -0.18),
            ncols=3 if len(labels) <= 3 else 2,
            frameon=False,
            fontsize=8)


def plot_balance(runs: Mapping[str, Curves],
                 metric: Optional[str] = None) -> Figure:
    """Draw K, what it follows from and the metric over the training.

    One panel for K, one for each other value that the log has by modality,
    such as FRM, and one for the metric of every combination. A colour is a
    modality or a combination, a line style a run.

    Args:
        runs (Mapping[str, dict]): Name of each run to what :func:`read_log`
            returned.
        metric (str, optional): The metric, such as ``coco/bbox_mAP_50``.
            Defaults to None, see :func:`choose_metric`.

    Returns:
        matplotlib.figure.Figure: The figure, on no pyplot state; save it by
        ``figure.savefig(path)``.

    Raises:
        ValueError: If no run has anything to draw, or none has the metric.
    """
    if metric is None:
        metric = next(filter(None, map(choose_metric, runs.values())), None)
    panels = _panels(runs, metric)
    figure = Figure(
        figsize=(4.2 * len(panels), 4), dpi=150, layout='constrained')
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    styles = dict(zip(runs, itertools.cycle(_STYLES)))
    # A modality has one colour in all panels.
    colors = dict(zip(
        dict.fromkeys(label for lines in panels.values()
                      for of_run in lines.values() for label in of_run),
        itertools.cycle(_COLORS)))
    for axis, (title, lines) in zip(axes, panels.items()):
        _draw(axis, lines, styles, colors)
        # Values such as FRM differ by orders of magnitude.
        if title not in ('K', metric) and all(
                v > 0 for of_run in lines.values()
                for curve in of_run.values() for v in curve.values()):
            axis.set_yscale('log')
        axis.set_title(title, fontsize=10)
    if len(runs) > 1:
        figure.legend(
            [Line2D([], [], color='black', linestyle=s)
             for s in styles.values()], styles,
            loc='outside lower center',
            ncols=min(len(runs), 4),
            fontsize=9)
    return figure
