"""Intervals, paired differences and tables against hand-worked numbers."""
import csv
import io
import json
from math import sqrt

import pytest

from mwam_mm.evaluation import (
    build_comparison,
    comparison_csv,
    comparison_tables,
    format_comparison,
    paired_difference,
    t_interval,
)
from mwam_mm.evaluation.comparison import t_quantile

# Two ways over three seeds. Their differences in rgb are 1, 2 and 3: mean 2,
# standard deviation 1, so the interval is 2 +- 4.30265 / sqrt(3).
HALF = 4.302653 / sqrt(3)
SCORES = {
    'plain': {
        0: {'rgb+depth': 80., 'rgb': 50., 'avg': 65.},
        1: {'rgb+depth': 82., 'rgb': 60., 'avg': 71.},
        2: {'rgb+depth': 84., 'rgb': 40., 'avg': 62.}},
    'md': {
        0: {'rgb+depth': 80., 'rgb': 51., 'avg': 65.5},
        1: {'rgb+depth': 83., 'rgb': 62., 'avg': 72.5},
        2: {'rgb+depth': 82., 'rgb': 43., 'avg': 62.5}},
    'rgb_alone': {0: {'rgb': 55.}, 1: {'rgb': 66.}, 2: {'rgb': 47.}},
}


@pytest.mark.parametrize('freedom, quantile', [
    (1, 12.7062), (2, 4.30265), (5, 2.57058), (10, 2.22814), (30, 2.04227)])
def test_quantiles_of_the_printed_table(freedom, quantile):
    assert t_quantile(0.975, freedom) == pytest.approx(quantile, abs=1e-4)
    assert t_quantile(0.025, freedom) == pytest.approx(-quantile, abs=1e-4)


def test_interval_by_hand():
    # mean 4, deviation sqrt((9 + 1 + 1 + 9) / 3), quantile of 3 degrees
    half = 3.182446 * sqrt(20 / 3) / 2
    interval = t_interval([1., 3., 5., 7.])
    assert interval == pytest.approx(
        (4, 4 - half, 4 + half, 4), abs=1e-5)
    assert not interval.excludes_zero
    assert t_interval([3., 4., 5.]).excludes_zero
    assert t_interval([-2., -2.]).excludes_zero
    assert not t_interval([0., 0.]).excludes_zero


def test_interval_of_few_or_undefined_values():
    assert t_interval([5.]) == (5., None, None, 1)
    assert not t_interval([5.]).excludes_zero
    assert t_interval([]) is None and t_interval([1., None]) is None


def test_difference_is_paired_by_seed():
    # In other orders, and each with a seed that the other lacks.
    difference = paired_difference({2: 43., 0: 51., 1: 62., 7: 0.},
                                   {0: 50., 1: 60., 2: 40., 8: 99.})
    assert difference == pytest.approx((2, 2 - HALF, 2 + HALF, 3), abs=1e-6)
    assert paired_difference({0: 1.}, {1: 1.}) is None
    assert paired_difference({0: 1., 1: None}, {0: 1., 1: 2.}) is None


def test_comparison():
    comparison = build_comparison(
        SCORES, 'mIoU', baseline='plain', ceilings=dict(rgb='rgb_alone'))
    assert comparison['seeds'] == [0, 1, 2]
    assert comparison['columns'] == ['rgb+depth', 'rgb', 'avg']
    assert list(comparison['rows']['rgb_alone']) == ['rgb']
    entry = comparison['rows']['md']['rgb']
    assert entry['values'] == {'0': 51., '1': 62., '2': 43.}
    assert entry['mean'] == 52
    assert entry['std'] == pytest.approx(sqrt((1 + 100 + 81) / 2))
    assert entry['to_baseline'] == pytest.approx(
        dict(mean=2, low=2 - HALF, high=2 + HALF, count=3), abs=1e-6)
    # 51 - 55, 62 - 66 and 43 - 47
    assert entry['to_ceiling'] == dict(mean=-4, low=-4, high=-4, count=3)
    assert comparison['rows']['md']['avg']['to_ceiling'] is None
    assert comparison['rows']['plain']['rgb']['to_baseline'] is None
    assert comparison['rows']['rgb_alone']['rgb']['to_ceiling'] is None
    json.dumps(comparison, allow_nan=False)


def test_tables():
    comparison = build_comparison(
        SCORES, 'mIoU', baseline='plain', ceilings=dict(rgb='rgb_alone'))
    means, differences, ceilings = comparison_tables(comparison)
    assert means.title == 'mIoU, mean ± standard deviation, seeds 0, 1, 2'
    assert means.rows['plain'] == ['82.0 ± 2.0', '50.0 ± 10.0', '66.0 ± 4.6']
    assert means.rows['rgb_alone'] == ['', '56.0 ± 9.5', '']
    assert 'to plain, paired by seed' in differences.title
    assert '95 %' in differences.title
    assert list(differences.rows) == ['md', 'rgb_alone']
    assert differences.rows['md'][1] == '+2.0 [-0.5, +4.5]'
    # 5, 6 and 7 more: 6 +- 2.48
    assert differences.rows['rgb_alone'][1] == '+6.0 [+3.5, +8.5] *'
    assert ceilings.columns == ['rgb']
    assert ceilings.rows['md'] == ['-4.0 [-4.0, -4.0] *']
    text = format_comparison(comparison)
    assert '|  | rgb+depth | rgb | avg |\n| --- | --- | --- | --- |\n' in text
    assert '| md | 81.7 ± 1.5 | 52.0 ± 9.5 | 66.8 ± 5.1 |' in text
    assert text.count('paired by seed') == 2


def test_cells_of_fewer_seeds_say_so():
    scores = {'a': {0: dict(rgb=50.), 1: dict(rgb=52.), 2: dict(rgb=54.)},
              'b': {1: dict(rgb=53.), 2: dict(rgb=57.)},
              'c': {7: dict(rgb=53.), 2: dict(rgb=57.)}}
    means, differences = comparison_tables(
        build_comparison(scores, 'mIoU', baseline='a'))
    assert means.title.endswith('seeds 0, 1, 2, 7')
    assert means.rows == dict(
        a=['52.0 ± 2.0 (3 of 4 seeds)'], b=['55.0 ± 2.8 (2 of 4 seeds)'],
        c=['55.0 ± 2.8 (2 of 4 seeds)'])
    # 1 and 3 more: 2 +- 12.706 of the error 1
    assert differences.rows == dict(
        b=['+2.0 [-10.7, +14.7] (2 of 4 seeds)'], c=['+3.0 (1 of 4 seeds)'])


def test_shares_of_one_have_more_digits():
    scores = {'a': {0: {'rgb': 0.5218, 'avg PCR (%)': 12.34}}}
    means, = comparison_tables(build_comparison(scores, 'mAP'))
    assert means.rows['a'] == ['0.522', '12.3']


def test_an_interval_of_shares_excludes_zero():
    scores = {'a': {0: dict(mAP=.50), 1: dict(mAP=.52)},
              'b': {0: dict(mAP=.60), 1: dict(mAP=.622)}}
    difference = comparison_tables(
        build_comparison(scores, 'mAP', baseline='a'))[1]
    # .1 and .102 more: .101 +- 12.706 of the error .001
    assert difference.rows == dict(b=['+0.101 [+0.088, +0.114] *'])


def test_undefined_scores():
    scores = {'a': {0: dict(rgb=None), 1: dict(rgb=3.)},
              'b': {0: dict(rgb=2.), 1: dict(rgb=3.)}}
    comparison = build_comparison(scores, 'mIoU', baseline='b')
    entry = comparison['rows']['a']['rgb']
    assert entry['mean'] is None and entry['to_baseline'] is None
    assert comparison_tables(comparison)[0].rows['a'] == ['undefined']


def test_a_difference_that_is_undefined_in_one_column():
    scores = {'a': {0: dict(rgb=None, depth=3.)},
              'b': {0: dict(rgb=2., depth=2.)}}
    comparison = build_comparison(scores, 'mIoU', baseline='b')
    assert comparison_tables(comparison)[1].rows == dict(a=['', '+1.0'])
    lines = list(csv.DictReader(io.StringIO(comparison_csv(comparison))))
    assert [(line['mean'], line['to_baseline']) for line in lines] == [
        ('', ''), ('3.0', '1.0'), ('2.0', ''), ('2.0', '')]
    assert all(None not in line for line in lines)


def test_csv():
    comparison = build_comparison(
        SCORES, 'mIoU', baseline='plain', ceilings=dict(rgb='rgb_alone'))
    lines = list(csv.DictReader(io.StringIO(comparison_csv(comparison))))
    assert len(lines) == 7
    line, = (x for x in lines if (x['row'], x['column']) == ('md', 'rgb'))
    assert (line['seeds'], line['mean']) == ('3', '52.0')
    assert float(line['to_baseline_low']) == pytest.approx(2 - HALF, abs=1e-6)
    assert float(line['to_ceiling_high']) == -4
    assert lines[0]['to_baseline'] == ''


def test_unknown_names():
    with pytest.raises(ValueError, match="baseline is 'mdd'.*'md'"):
        build_comparison(SCORES, 'mIoU', baseline='mdd')
    with pytest.raises(ValueError, match=r"ceilings\['rgb'\] is 'alone'"):
        build_comparison(SCORES, 'mIoU', ceilings=dict(rgb='alone'))
    with pytest.raises(ValueError, match="ceilings.'depth'.*columns.*rgb"):
        build_comparison(SCORES, 'mIoU', ceilings=dict(depth='rgb_alone'))
