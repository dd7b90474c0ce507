"""The report of a missing-modality evaluation: numbers, table and files."""
import csv
import glob
import io
import json
import os.path as osp
from math import isfinite
from numbers import Real
from typing import (
    Any,
    Dict,
    Iterable,
    List,
    Mapping,
    Optional,
    Sequence,
    Union,
)

import torch
from rich import box
from rich.console import Console
from rich.table import Table

from mwam_mm.atomic import replacing
from mwam_mm.layout import combination_name
from mwam_mm.visualization import plot_missing_modality, with_arrow
from mwam_mm.visualization.balance_plot import PREFERRED_METRICS

from .functional import (
    average_pcr,
    combination_average,
    expectation,
    is_higher_better,
    pcr,
)

__all__ = [
    'build_report', 'flatten_report', 'format_report', 'newest_report',
    'save_report', 'undefined_names'
]


def build_report(scores: Mapping[str, Mapping[str, Any]],
                 samples: Mapping[str, int],
                 modalities: Sequence[str],
                 metric: Union[None, str, Sequence[str]] = None,
                 drop_probs: Sequence[float] = (0.05, 0.1, 0.2),
                 higher_is_better: Optional[Mapping[str, bool]] = None,
                 faults: Sequence[str] = (),
                 full_scores: Mapping[str, Mapping[str, Any]] = {},
                 constants: Mapping[str, str] = {},
                 per_class: Mapping[str, Mapping[str, Any]] = {}) -> dict:
    """Summarise the metrics of several modality combinations.

    Values that are no numbers are left out. An undefined value (a metric that
    is NaN or infinite, a PCR whose full score is not positive, an average
    over an undefined score, an expectation without every combination) is
    None.

    Args:
        scores (Mapping[str, Mapping]): Combination to metric to value.
        samples (Mapping[str, int]): Combination to the number of samples it
            was evaluated on.
        modalities (Sequence[str]): All modalities.
        metric (str | Sequence[str], optional): Metrics to give the PCR of.
            Defaults to None, the first found of ``mIoU``, ``coco/bbox_mAP``,
            ``pascal_voc/mAP``, ``accuracy/top1`` or else the first of all.
        drop_probs (Sequence[float]): Drop probabilities of the expectation.
            Defaults to (0.05, 0.1, 0.2).
        higher_is_better (Mapping[str, bool], optional): Metric to whether a
            higher value is better, where its name does not say so; see
            :func:`is_higher_better`. Higher is assumed where neither does.
            Defaults to None.
        faults (Sequence[str]): Those of ``scores`` that are no combinations
            but sensor faults, which no average takes in. Defaults to ().
        full_scores (Mapping[str, Mapping]): Combination that has fewer
            samples than the full one to the metrics of the full one on those
            samples, from which its PCR is computed. Defaults to none.
        constants (Mapping[str, str]): Combination of which the model
            predicted the same everywhere, to what it predicted. Defaults to
            none.
        per_class (Mapping[str, Mapping]): Combination to metric to class to
            value. Defaults to none.

    Returns:
        dict: The report as :func:`save_report` writes it, PCR in percent:

        - ``modalities`` (list[str])
        - ``higher_is_better``: metric to True, False or, if it is only
          assumed, None
        - ``combinations``: combination to ``samples`` (int), ``metrics`` and,
          unless it is the full one, ``PCR``; where they are given,
          ``full_on_same_samples``, ``constant`` and ``per_class``
        - ``avg``: ``metrics`` (full combination included) and ``PCR`` (full
          combination excluded)
        - ``expectation``: drop probability to ``metrics``
        - ``faults``: sensor fault to ``samples``, ``metrics`` and ``PCR``; not
          there without any

        where ``metrics`` and ``PCR`` map metrics to values.

    Raises:
        ValueError: If ``metric`` or ``higher_is_better`` names a metric that
            is not among the results.

    Examples:
        >>> report = build_report(
        ...     {'rgb+depth': dict(mIoU=50.), 'rgb': dict(mIoU=40.),
        ...      'depth': dict(mIoU=30.)},
        ...     samples={'rgb+depth': 9, 'rgb': 9, 'depth': 9},
        ...     modalities=['rgb', 'depth'])
        >>> report['avg']
        {'metrics': {'mIoU': 40.0}, 'PCR': {'mIoU': 30.0}}
    """
    numbers = {
        name: {k: _number(v) for k, v in values.items() if _is_number(v)}
        for name, values in scores.items()
    }
    keys = list(dict.fromkeys(k for v in numbers.values() for k in v))
    by_metric = {
        key: {name: values.get(key) for name, values in numbers.items()}
        for key in keys
    }
    chosen = _choose_metrics(metric, keys)
    _check_known(higher_is_better or (), keys, 'higher_is_better')
    directions = {
        key: is_higher_better(key, higher_is_better)
        for key in keys
    }
    full = combination_name(modalities)
    full_on_same = {
        key: {
            name: _number(values[key]) if _is_number(values.get(key)) else None
            for name, values in full_scores.items()
        }
        for key in keys
    }

    entries = {}
    for name in scores:
        entry = entries[name] = dict(
            samples=samples[name],
            metrics={key: by_metric[key][name] for key in keys})
        if name != full:
            entry['PCR'] = {
                key: pcr(full_on_same[key].get(name,
                                               by_metric[key].get(full)),
                         by_metric[key][name], directions[key] is not False)
                for key in chosen
            }
        if name in full_scores:
            entry['full_on_same_samples'] = {
                key: values[name]
                for key, values in full_on_same.items()
            }
        if name in constants:
            entry['constant'] = constants[name]
        if per_class.get(name):
            entry['per_class'] = per_class[name]
    faulty = {name: entries.pop(name) for name in faults}
    for values in by_metric.values():
        for name in faulty:
            del values[name]
    report = dict(
        modalities=list(modalities),
        higher_is_better=directions,
        combinations=entries,
        avg=dict(
            metrics={key: combination_average(by_metric[key])
                     for key in keys},
            PCR={
                key: average_pcr(by_metric[key], full,
                                 directions[key] is not False,
                                 full_on_same[key])
                for key in chosen
            }),
        expectation={
            f'{p:g}': dict(metrics={
                key: expectation(by_metric[key], modalities, p)
                for key in keys
            })
            for p in drop_probs
        })
    return dict(report, faults=faulty) if faulty else report


def flatten_report(report: Mapping) -> Dict[str, Optional[float]]:
    """Flatten a report to the metric dict that hooks and loggers take.

    Args:
        report (Mapping): What :func:`build_report` returns.

    Returns:
        dict[str, float | None]: ``avg/<metric>``, ``avg/PCR``,
        ``<combination>/<metric>``, ``<combination>/PCR``,
        ``emm_<p>/<metric>``, ``<fault>/<metric>`` and ``<fault>/PCR``. The
        PCR of a second metric and further ones is ``PCR_<metric>``. The
        average of the first chosen metric is the first entry, which is what
        ``save_best='auto'`` monitors.

    Examples:
        >>> report = build_report({'rgb': dict(mIoU=50.)}, {'rgb': 9}, ['rgb'],
        ...                       drop_probs=[0.1])
        >>> flatten_report(report)
        {'avg/mIoU': 50.0, 'rgb/mIoU': 50.0, 'avg/PCR': None, \
'emm_0.1/mIoU': 50.0}
    """
    flat = {f'avg/{next(iter(report["avg"]["PCR"]))}': None}
    for row in _rows(report):
        name = row.pop('combination')
        row.pop('samples', None)
        flat.update({f'{name}/{key}': value for key, value in row.items()})
    return flat


def undefined_names(report: Mapping) -> List[str]:
    """Names of the values that are undefined.

    Args:
        report (Mapping): What :func:`build_report` returns.

    Returns:
        list[str]: The keys that are None in what :func:`flatten_report`
        returns. A metric that is None in every row comes once, by its own
        name, as the mAP of large objects where there are none.
    """
    rows = _rows(report)
    never = [key for key in report['avg']['metrics']
             if all(row.get(key) is None for row in rows)]
    return never + [
        name for name, value in flatten_report(report).items()
        if value is None and name.split('/', 1)[1] not in never]


def format_report(report: Mapping) -> str:
    """Format a report as a text table.

    Args:
        report (Mapping): What :func:`build_report` returns.

    Returns:
        str: Rows are combinations, their average, the expectations and the
        sensor faults; columns are metrics, PCR in percent and samples. A
        metric of which lower is better has the arrow ↓. A positive PCR is
        always a loss of performance. Notes below it say of which rows the
        model predicted the same everywhere, and which PCR was computed on
        fewer samples.
    """
    rows = _rows(report)
    columns = _columns(rows)
    entries = {**report['combinations'], **report.get('faults', {})}
    notes = []
    for row in rows:
        name = row['combination']
        entry = entries.get(name, {})
        if 'constant' in entry:
            row['combination'] += ' (constant)'
            notes.append(
                f'"{name}": the prediction is {entry["constant"]!r} '
                'everywhere, in every sample. These are the scores of a '
                'constant, and so is any PCR that comes from them')
        if 'full_on_same_samples' in entry:
            values = {
                key: entry['full_on_same_samples'].get(key)
                for key in entry['PCR']
            }
            notes.append(
                f'"{name}": its PCR compares the {entry["samples"]} samples '
                'that have something of it, on which all modalities together '
                'have ' + ', '.join(
                    f'{key} {value:.4g}' if value is not None else
                    f'no {key}' for key, value in values.items()))
    table = Table(box=box.ASCII)
    for column in columns:
        table.add_column(
            f'{column} (%)'
            if column.startswith('PCR') else with_arrow(column, report),
            justify='left' if column == 'combination' else 'right')
    for cells in zip(*(_format([row.get(column) for row in rows])
                       for column in columns)):
        table.add_row(*cells)
    console = Console(
        file=io.StringIO(), width=10000, force_terminal=False)
    console.print(table)
    return '\n'.join([console.file.getvalue().rstrip(), *notes])


def save_report(report: Mapping,
                out_dir: str,
                replace: bool = True) -> List[str]:
    """Write a report as JSON, CSV and plot.

    The files are ``missing_modality_<stage>.json``, ``.csv`` and ``.png``;
    without a stage, ``missing_modality.json`` and so on. A file is written as
    a whole or not at all.

    Args:
        report (Mapping): What :func:`build_report` returns, with further
            entries such as ``config``, ``checkpoint`` and ``stage``.
        out_dir (str): Existing folder to write to.
        replace (bool): Whether to replace the files of an earlier report. If
            not, the names of the new ones end in the next free number, as in
            ``missing_modality_test_2.json``. Defaults to True.

    Returns:
        list[str]: Paths of the files, JSON first.
    """
    rows = _rows(report)
    table = io.StringIO()
    writer = csv.DictWriter(table, _columns(rows), lineterminator='\n')
    writer.writeheader()
    writer.writerows(rows)
    plot = io.BytesIO()
    plot_missing_modality(report).savefig(plot, format='png')
    contents = dict(
        json=(json.dumps(report, indent=2, allow_nan=False) + '\n').encode(),
        csv=table.getvalue().encode(),
        png=plot.getvalue())
    stem = _stem(report.get('stage'))
    number = 1
    while not replace and osp.exists(osp.join(out_dir, f'{stem}.json')):
        number += 1
        stem = f'{_stem(report.get("stage"))}_{number}'
    paths = []
    for suffix, content in contents.items():
        path = osp.join(out_dir, f'{stem}.{suffix}')
        with replacing(path) as partial:
            with open(partial, 'wb') as file:
                file.write(content)
        paths.append(path)
    return paths


def newest_report(work_dir: str, stage: str) -> Optional[str]:
    """Path of the newest report that the runs in a work dir have written.

    Each run writes to the folder that MMEngine names after its start,
    ``<work_dir>/<date>_<time>``. Folders of other names, such as copies, do
    not count.

    Args:
        work_dir (str): The work dir.
        stage (str): ``'val'`` for validation in training, or ``'test'``.

    Returns:
        str | None: Path of the JSON file; None where there is none.
    """
    digit = '[0-9]'
    return max(
        glob.glob(
            osp.join(
                glob.escape(work_dir), f'{8 * digit}_{6 * digit}',
                f'{_stem(stage)}*.json')),
        key=lambda path: (osp.dirname(path), osp.getmtime(path)),
        default=None)


def _stem(stage: Optional[str]) -> str:
    return f'missing_modality_{stage}' if stage else 'missing_modality'


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) or (isinstance(value, torch.Tensor)
                                       and value.numel() == 1)


def _number(value: Any) -> Optional[float]:
    value = float(value)
    return value if isfinite(value) else None


def _choose_metrics(metric: Union[None, str, Sequence[str]],
                    keys: Sequence[str]) -> List[str]:
    if metric is None:
        found = [key for key in PREFERRED_METRICS if key in keys]
        chosen = (found or list(keys))[:1]
    else:
        chosen = [metric] if isinstance(metric, str) else list(metric)
    if not chosen:
        raise ValueError('metric names none of the metrics that the evaluator '
                         f'gives: {list(keys)}')
    _check_known(chosen, keys, 'metric')
    return chosen


def _check_known(names: Iterable[str], keys: Sequence[str],
                 where: str) -> None:
    unknown = [name for name in names if name not in keys]
    if unknown:
        raise ValueError(f'{where} names {unknown}, but the evaluator gives '
                         f'the metrics {list(keys)}')


def _rows(report: Mapping) -> List[Dict[str, Any]]:
    """The table's rows: combinations, average, expectations and faults."""
    entries = dict(report['combinations'], avg=report['avg'])
    entries.update((f'emm_{p}', entry)
                   for p, entry in report['expectation'].items())
    entries.update(report.get('faults', {}))
    rows = []
    for name, entry in entries.items():
        row = dict(combination=name, **entry['metrics'])
        if 'samples' in entry:
            row['samples'] = entry['samples']
        for i, (key, value) in enumerate(entry.get('PCR', {}).items()):
            row[f'PCR_{key}' if i else 'PCR'] = value
        rows.append(row)
    return rows


def _format(column: Sequence[Any]) -> List[str]:
    """Format a column, fractions with more digits than percentages."""
    values = [abs(v) for v in column if isinstance(v, float)]
    digits = 2 if max(values, default=0) > 1 else 4
    return [
        '-' if v is None else f'{v:.{digits}f}' if isinstance(v, float) else
        str(v) for v in column
    ]


def _columns(rows: Sequence[Mapping]) -> List[str]:
    columns = dict.fromkeys(key for row in rows for key in row)
    columns.pop('samples')
    return [*columns, 'samples']
