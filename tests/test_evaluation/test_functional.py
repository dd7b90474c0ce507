"""PCR, averages and expectation over modality combinations."""
import math

import numpy as np
import pytest

from mwam_mm.evaluation import (
    average_pcr,
    combination_average,
    expectation,
    is_higher_better,
    pcr,
)

# Rows of the tables in the paper: RGB, depth or IR, both, average, PCR.
PAPER = [
    (41.30, 38.79, 47.51, 42.53, 15.71),  # ESANet-MD
    (44.27, 40.34, 48.80, 44.47, 13.31),  # ESANet-MD + MWAM
    (42.24, 39.93, 48.26, 43.47, 14.87),  # MMANet
    (0.215, 0.669, 0.790, 0.558, 44.05),  # DroneVehicle, mAP50
]
UNDEFINED = [None, math.nan, math.inf, -math.inf]


@pytest.mark.parametrize('rgb, depth, both, average, change', PAPER)
def test_averages_are_the_papers(rgb, depth, both, average, change):
    scores = {'rgb+depth': both, 'rgb': rgb, 'depth': depth}
    # the paper rounds some values and truncates others
    unit = 0.01 if both > 1 else 0.001
    assert combination_average(scores) == pytest.approx(average, abs=unit)
    assert average_pcr(scores, 'rgb+depth') == pytest.approx(change, abs=0.01)


def test_pcr_is_in_percent_and_signed():
    assert pcr(50., 40.) == pytest.approx(20.)
    assert pcr(0.5, 0.6) == pytest.approx(-20.)
    assert pcr(50., 0.) == 100.


@pytest.mark.parametrize('full, incomplete, change', [
    (2., 6., 200.),  # three times the error
    (4., 5., 25.),
    (5., 4., -20.),  # better without
    (0.5, 0.5, 0.),
])
def test_pcr_where_lower_is_better(full, incomplete, change):
    """Positive means collapse whichever way a metric goes."""
    assert pcr(full, incomplete, higher_is_better=False) == pytest.approx(
        change)
    assert pcr(full, incomplete) == pytest.approx(-change)


def test_average_pcr_where_lower_is_better():
    scores = {'rgb+depth': 2., 'rgb': 6., 'depth': 3.}
    assert average_pcr(
        scores, 'rgb+depth', higher_is_better=False) == pytest.approx(125.)


@pytest.mark.parametrize('direction', [None, 'lower', dict(MAE=False)])
def test_pcr_refuses_what_is_no_direction(direction):
    with pytest.raises(TypeError, match='must be True or False'):
        pcr(50., 40., direction)


@pytest.mark.parametrize('names, expected', [
    ('mIoU aAcc mAcc mDice mFscore mPrecision mRecall coco/bbox_mAP '
     'coco/bbox_mAP_50 pascal_voc/AP50 pascal_voc/mAP accuracy/top1 AR@100 '
     'TAR@FPR=0.01 d1 coco_panoptic/PQ car_precision AP_far F1 '
     'BalancedAccuracy', True),
    ('MAE RMSE rmse_log abs_rel depth/sq_rel log10 silog ACER EER loss '
     'decode.loss_ce error_rate MeanAbsoluteError HD95 crowd_human/mMR',
     False),
    ('roughness score iou_loss iou/error', None),
])
def test_direction_by_name(names, expected):
    found = {name: is_higher_better(name) for name in names.split()}
    assert found == dict.fromkeys(found, expected)


def test_given_direction_counts_before_the_name():
    given = {'MAE': True, 'x/gap': False}
    assert is_higher_better('MAE', given) is True
    assert is_higher_better('x/gap', given) is False
    assert is_higher_better('mIoU', given) is True


@pytest.mark.parametrize('full, incomplete', [
    (0., 0.),
    (0., 10.),
    (-1., 0.5),
    *((value, 10.) for value in UNDEFINED),
    *((10., value) for value in UNDEFINED),
])
def test_pcr_undefined(full, incomplete):
    assert pcr(full, incomplete) is None
    assert pcr(full, incomplete, higher_is_better=False) is None


@pytest.mark.parametrize('value', UNDEFINED)
def test_averages_undefined(value):
    scores = {'rgb+depth': 50., 'rgb': 40., 'depth': value}
    assert combination_average(scores) is None
    assert average_pcr(scores, 'rgb+depth') is None
    assert expectation(scores, ['rgb', 'depth'], 0.1) is None


def test_averages_of_nothing():
    assert combination_average({}) is None
    assert average_pcr({'rgb': 40.}, 'rgb') is None
    assert average_pcr({'rgb': 40., 'depth': 30.}, 'rgb+depth') is None


@pytest.mark.parametrize('p', [0.05, 0.1, 0.2, 0.7])
def test_expectation_is_the_mean_over_random_drops(p):
    """Enumerate the 2^3 outcomes of three independent drops."""
    scores = {
        'a+b+c': 60., 'a+b': 50., 'c+a': 47., 'b+c': 30.,
        'a': 41., 'b': 22., 'c': 5.
    }  # yapf: disable
    values = []
    weights = []
    for a in (0, 1):
        for b in (0, 1):
            for c in (0, 1):
                key = {'a': a, 'b': b, 'c': c}
                names = {n for n in key if key[n]}
                if not names:
                    continue
                weights.append(np.prod([1 - p if key[n] else p for n in key]))
                values += [
                    v for k, v in scores.items() if set(k.split('+')) == names
                ]
    expected = np.average(values, weights=weights)
    assert expectation(scores, 'abc', p) == pytest.approx(expected)


def test_expectation_needs_every_combination():
    scores = {'rgb+depth': 50., 'rgb': 40.}
    assert expectation(scores, ['rgb', 'depth'], 0.1) is None
    assert expectation({'rgb': 40.}, ['rgb'], 0.1) == pytest.approx(40.)
    assert expectation(dict(scores, depth=30.), ['rgb', 'depth'], 0.) == 50.


@pytest.mark.parametrize('p', [-0.1, 1, 1.5])
def test_expectation_refuses_a_bad_probability(p):
    with pytest.raises(ValueError, match=r'\[0, 1\)'):
        expectation({'rgb': 40.}, ['rgb'], p)
