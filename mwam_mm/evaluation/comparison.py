"""Comparison of trainings over seeds: paired differences and tables.

Scores are a mapping from row (a way to train) to seed to column (a modality
combination, or an average of them) to score. A score that is None is
undefined, and so is what needs it.
"""
import csv
import io
from math import sqrt
from statistics import mean, stdev
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence

from .functional import Score

__all__ = [
    'Interval', 'Table', 'build_comparison', 'comparison_csv',
    'comparison_tables', 'format_comparison', 'paired_difference',
    't_interval', 't_quantile'
]

Scores = Mapping[str, Mapping[int, Mapping[str, Score]]]

# The confidence of all intervals.
_CONFIDENCE = 0.95


class Interval(NamedTuple):
    """A mean and its confidence interval.

    Args:
        mean (float): Mean.
        low (float, optional): Lower end; None of a single value.
        high (float, optional): Upper end, likewise.
        count (int): Number of values.
    """
    mean: float
    low: Optional[float]
    high: Optional[float]
    count: int

    @property
    def excludes_zero(self) -> bool:
        """bool: Whether there is an interval, and 0 lies outside of it."""
        return self.low is not None and (self.low > 0 or self.high < 0)


class Table(NamedTuple):
    """A table as text.

    Args:
        title (str): Title.
        columns (list[str]): Headings of the columns, that of the rows left
            out.
        rows (dict[str, list[str]]): Name of a row to its cells.
    """
    title: str
    columns: List[str]
    rows: Dict[str, List[str]]


def t_quantile(probability: float, freedom: int) -> float:
    """Quantile of Student's t distribution.

    Args:
        probability (float): In (0, 1).
        freedom (int): Degrees of freedom.

    Returns:
        float: The quantile.

    Examples:
        >>> round(t_quantile(0.975, 5), 3)
        2.571
    """
    # MMSegmentation and MMDetection require SciPy, this package does not.
    from scipy.special import stdtrit
    return float(stdtrit(freedom, probability))


def t_interval(values: Sequence[Score]) -> Optional[Interval]:
    """Mean and 95 % interval of a sample, by the t distribution.

    Args:
        values (Sequence[float]): The sample.

    Returns:
        Interval | None: The mean, with an interval from two values on; None
        without values or if one is undefined.

    Examples:
        >>> interval = t_interval([1., 2., 3.])
        >>> interval.mean, round(interval.low, 2), round(interval.high, 2)
        (2.0, -0.48, 4.48)
    """
    count = len(values)
    if not count or any(value is None for value in values):
        return None
    centre = mean(values)
    if count == 1:
        return Interval(centre, None, None, 1)
    half = t_quantile((1 + _CONFIDENCE) / 2, count - 1) * stdev(
        values) / sqrt(count)
    return Interval(centre, centre - half, centre + half, count)


def paired_difference(scores: Mapping[int, Score],
                      baseline: Mapping[int, Score]) -> Optional[Interval]:
    """Difference to a baseline, paired by seed.

    Runs of one seed have their initial weights and the order of their samples
    in common, so their difference varies less than either does.

    Args:
        scores (Mapping[int, float]): Seed to score.
        baseline (Mapping[int, float]): Seed to score of the baseline.

    Returns:
        Interval | None: Of ``scores`` minus ``baseline`` over the seeds that
        both have; None if there is none or one of their scores is undefined.

    Examples:
        >>> difference = paired_difference({0: 3., 1: 5., 2: 4.},
        ...                                {0: 2., 1: 3., 2: 1.})
        >>> difference.mean, difference.excludes_zero
        (2.0, False)
    """
    pairs = [(scores[seed], baseline[seed]) for seed in scores
             if seed in baseline]
    if any(None in pair for pair in pairs):
        return None
    return t_interval([a - b for a, b in pairs])


def build_comparison(scores: Scores,
                     metric: str,
                     baseline: Optional[str] = None,
                     ceilings: Optional[Mapping[str, str]] = None) -> dict:
    """Compare ways to train over seeds.

    Args:
        scores (Mapping): Row to seed to column to score.
        metric (str): Name of the metric.
        baseline (str, optional): Row that the others are compared with.
            Defaults to None.
        ceilings (Mapping[str, str], optional): Column to the row whose score
            in it is what a model of this modality alone reaches. Defaults to
            None.

    Returns:
        dict: ``metric``, ``confidence``, ``baseline``, ``ceilings``,
        ``seeds``, ``columns`` and ``rows``, which maps row to column to

        - ``values``: seed to score
        - ``mean``, ``std``: of the sample; None if a score is undefined, and
          ``std`` also of a single seed
        - ``interval``, ``to_baseline``, ``to_ceiling``: ``mean``, ``low``,
          ``high`` and ``count`` of :class:`Interval`, or None

    Raises:
        ValueError: If ``baseline`` or ``ceilings`` name a row that there is
            not, or ``ceilings`` a column that its row does not have.

    Examples:
        >>> comparison = build_comparison(
        ...     {'plain': {0: dict(rgb=60.), 1: dict(rgb=62.)},
        ...      'md': {0: dict(rgb=65.), 1: dict(rgb=68.)}},
        ...     'mIoU', baseline='plain')
        >>> comparison['rows']['md']['rgb']['to_baseline']['mean']
        5.5
    """
    ceilings = dict(ceilings or {})
    for where, row in [('baseline', baseline)] + [
            (f'ceilings[{column!r}]', row)
            for column, row in ceilings.items()]:
        if row is not None and row not in scores:
            raise ValueError(f'{where} is {row!r}, but the rows are '
                             f'{list(scores)}')
    by_column: Dict[str, Dict[str, Dict[int, Score]]] = {
        row: {} for row in scores}
    for row, runs in scores.items():
        for seed, run in runs.items():
            for column, value in run.items():
                by_column[row].setdefault(column, {})[seed] = value
    for column, row in ceilings.items():
        if column not in by_column[row]:
            raise ValueError(f'ceilings[{column!r}] is {row!r}, which has '
                             f'the columns {list(by_column[row])}')

    def describe(row: str, column: str) -> Dict[str, Any]:
        values = by_column[row][column]
        interval = t_interval(list(values.values()))
        entry = dict(
            values={str(seed): value for seed, value in values.items()},
            mean=interval and interval.mean,
            std=stdev(values.values())
            if interval and interval.count > 1 else None,
            interval=_entry(interval))
        for key, other in (('to_baseline', baseline),
                           ('to_ceiling', ceilings.get(column))):
            reference = by_column[other].get(column) if other else None
            entry[key] = None if reference is None or other == row else _entry(
                paired_difference(values, reference))
        return entry

    return dict(
        metric=metric,
        confidence=_CONFIDENCE,
        baseline=baseline,
        ceilings=ceilings,
        seeds=list(dict.fromkeys(s for runs in scores.values() for s in runs)),
        columns=list(dict.fromkeys(
            column for row in by_column.values() for column in row)),
        rows={
            row: {column: describe(row, column) for column in columns}
            for row, columns in by_column.items()
        })


def _entry(interval: Optional[Interval]) -> Optional[dict]:
    return None if interval is None else interval._asdict()


def comparison_tables(comparison: Mapping) -> List[Table]:
    """The tables of a comparison.

    Args:
        comparison (Mapping): What :func:`build_comparison` returns.

    Returns:
        list[Table]: Means with standard deviations; then, where there are a
        baseline and ceilings, the differences to them. A cell of fewer seeds
        than the title names says of how many.
    """
    rows, columns = comparison['rows'], comparison['columns']
    seeds = ', '.join(map(str, comparison['seeds']))
    count = len(comparison['seeds'])
    tables = [
        Table(
            f'{comparison["metric"]}, mean ± standard deviation, seeds '
            f'{seeds}', columns, {
                row: [_mean(entries.get(c), _digits(comparison, c), count)
                      for c in columns]
                for row, entries in rows.items()
            })
    ]
    ceilings = comparison['ceilings']
    for key, name, shown in (
            ('to_baseline', comparison['baseline'], columns),
            ('to_ceiling', 'the ceilings' if ceilings else None,
             [c for c in columns if c in ceilings])):
        if name is None:
            continue
        tables.append(
            Table(
                f'Difference to {name}, paired by seed, with its '
                f'{100 * comparison["confidence"]:g} % interval; * where '
                'that leaves out 0', shown, {
                    row: [_difference(entries.get(c), key,
                                      _digits(comparison, c), count)
                          for c in shown]
                    for row, entries in rows.items()
                    if any((entries.get(c) or {}).get(key) for c in shown)
                }))
    return tables


def _digits(comparison: Mapping, column: str) -> int:
    """Shares of 1, such as mAP, get more digits than percentages."""
    means = [abs(entry['mean'] or 0)
             for entries in comparison['rows'].values()
             for name, entry in entries.items() if '%' not in name]
    return 3 if '%' not in column and max(means, default=0) <= 1 else 1


def _of(count: int, seeds: int) -> str:
    """Of how many seeds a value is, unless of all."""
    return '' if count == seeds else f' ({count} of {seeds} seeds)'


def _mean(entry: Optional[Mapping], digits: int, seeds: int) -> str:
    if entry is None:
        return ''
    if entry['mean'] is None:
        return 'undefined'
    spread = entry['std']
    return f'{entry["mean"]:.{digits}f}' + (
        '' if spread is None else f' ± {spread:.{digits}f}') + _of(
            len(entry['values']), seeds)


def _difference(entry: Optional[Mapping], key: str, digits: int,
                seeds: int) -> str:
    if entry is None or entry[key] is None:
        return ''
    interval = Interval(**entry[key])
    text = f'{interval.mean:+.{digits}f}'
    if interval.low is not None:
        star = ' *' if interval.excludes_zero else ''
        text += (f' [{interval.low:+.{digits}f}, '
                 f'{interval.high:+.{digits}f}]{star}')
    return text + _of(interval.count, seeds)


def format_comparison(comparison: Mapping) -> str:
    """Format a comparison as Markdown.

    Args:
        comparison (Mapping): What :func:`build_comparison` returns.

    Returns:
        str: The tables of :func:`comparison_tables`.
    """
    parts = []
    for table in comparison_tables(comparison):
        lines = [['', *table.columns], ['---'] * (len(table.columns) + 1)]
        lines += [[name, *cells] for name, cells in table.rows.items()]
        parts.append(f'{table.title}:\n\n' + '\n'.join(
            '| ' + ' | '.join(line) + ' |' for line in lines))
    return '\n\n'.join(parts) + '\n'


def comparison_csv(comparison: Mapping) -> str:
    """Format a comparison as CSV, a line for each cell of the tables.

    Args:
        comparison (Mapping): What :func:`build_comparison` returns.

    Returns:
        str: The lines, after one with the names of the fields.
    """
    fields = ['row', 'column', 'seeds', 'mean', 'std', 'low', 'high']
    for key in ('to_baseline', 'to_ceiling'):
        fields += [key, f'{key}_low', f'{key}_high']
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(fields)
    for row, entries in comparison['rows'].items():
        for column, entry in entries.items():
            ends = [entry['interval'], entry['to_baseline'],
                    entry['to_ceiling']]
            (_, low, high), *differences = [
                (e['mean'], e['low'], e['high']) if e else (None, ) * 3
                for e in ends]
            writer.writerow([
                row, column, len(entry['values']), entry['mean'],
                entry['std'], low, high,
                *(value for d in differences for value in d)
            ])
    return text.getvalue()
