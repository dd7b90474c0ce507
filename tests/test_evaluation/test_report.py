"""Building, formatting and writing the report."""
import csv
import json
import os

import cv2
import numpy as np
import pytest
import torch

from mwam_mm.evaluation import (
    build_report,
    flatten_report,
    format_report,
    newest_report,
    save_report,
    undefined_names,
)

SCORES = {
    'rgb+depth': dict(aAcc=80., mIoU=np.float64(47.51)),
    'rgb': dict(aAcc=torch.tensor(70.), mIoU=41.30),
    'depth': dict(aAcc=90., mIoU=38.79)
}
SAMPLES = {'rgb+depth': 9, 'rgb': 9, 'depth': 7}
NAMES = ['rgb', 'depth']


def test_flat_metrics():
    flat = flatten_report(build_report(SCORES, SAMPLES, NAMES))
    assert list(flat)[0] == 'avg/mIoU'  # what save_best='auto' takes
    assert set(flat) == {
        'rgb+depth/aAcc', 'rgb+depth/mIoU', 'rgb/aAcc', 'rgb/mIoU', 'rgb/PCR',
        'depth/aAcc', 'depth/mIoU', 'depth/PCR', 'avg/aAcc', 'avg/mIoU',
        'avg/PCR', 'emm_0.05/aAcc', 'emm_0.05/mIoU', 'emm_0.1/aAcc',
        'emm_0.1/mIoU', 'emm_0.2/aAcc', 'emm_0.2/mIoU'
    }
    assert flat['depth/mIoU'] == 38.79
    assert flat['avg/mIoU'] == pytest.approx((47.51 + 41.30 + 38.79) / 3)
    assert flat['avg/aAcc'] == pytest.approx(80.)
    assert flat['rgb/PCR'] == pytest.approx(100 * (47.51 - 41.30) / 47.51)
    assert flat['avg/PCR'] == pytest.approx(15.71, abs=0.005)
    assert flat['emm_0.1/mIoU'] == pytest.approx(
        (.81 * 47.51 + .09 * (41.30 + 38.79)) / .99)


def test_pcr_of_further_metrics_and_other_probabilities():
    flat = flatten_report(
        build_report(SCORES, SAMPLES, NAMES, ['mIoU', 'aAcc'], [0.5]))
    assert flat['rgb/PCR_aAcc'] == pytest.approx(12.5)
    assert flat['avg/PCR_aAcc'] == pytest.approx((12.5 - 12.5) / 2)
    assert flat['emm_0.5/aAcc'] == pytest.approx(80.)
    assert 'emm_0.1/aAcc' not in flat


def test_undefined_names():
    nan = float('nan')
    report = build_report(
        {'rgb+depth': dict(mAP=.5, mAP_l=nan, mAP_s=.1),
         'rgb': dict(mAP=.4, mAP_l=nan, mAP_s=.1),
         'depth': dict(mAP=.4, mAP_l=nan, mAP_s=nan)},
        {'rgb+depth': 3, 'rgb': 3, 'depth': 2}, ['rgb', 'depth'], 'mAP',
        drop_probs=[.1])
    assert undefined_names(report) == [
        'mAP_l', 'depth/mAP_s', 'avg/mAP_s', 'emm_0.1/mAP_s']


@pytest.mark.parametrize('names, expected', [
    (['aAcc', 'mIoU', 'mAcc'], 'mIoU'),
    (['coco/bbox_mAP_50', 'coco/bbox_mAP'], 'coco/bbox_mAP'),
    (['pascal_voc/AP50', 'pascal_voc/mAP'], 'pascal_voc/mAP'),
    (['accuracy/top1', 'accuracy/top5'], 'accuracy/top1'),
    (['accuracy/top1', 'mIoU', 'coco/bbox_mAP'], 'mIoU'),
    (['hits', 'misses'], 'hits'),
])
def test_default_metric(names, expected):
    report = build_report({'rgb': {name: 1. for name in names}},
                          {'rgb': 1}, ['rgb'])
    assert list(report['avg']['PCR']) == [expected]


def test_prefixed_metrics_keep_their_prefix():
    scores = {
        name: {'coco/bbox_mAP': value}
        for name, value in (('rgb+depth', .4), ('rgb', .3), ('depth', .2))
    }
    flat = flatten_report(build_report(scores, SAMPLES, NAMES))
    assert flat['rgb/coco/bbox_mAP'] == .3
    assert flat['avg/coco/bbox_mAP'] == pytest.approx(.3)
    assert flat['depth/PCR'] == pytest.approx(50.)


def test_unknown_metric():
    with pytest.raises(ValueError, match=r"\['mIou'\].*'aAcc', 'mIoU'"):
        build_report(SCORES, SAMPLES, NAMES, metric='mIou')
    with pytest.raises(ValueError, match='metric names none.*aAcc'):
        build_report(SCORES, SAMPLES, NAMES, metric=[])


@pytest.mark.parametrize('scores', [
    {'rgb+depth': dict(mIoU=0.), 'rgb': dict(mIoU=0.),
     'depth': dict(mIoU=5.)},
    {'rgb+depth': dict(mIoU=float('nan')), 'rgb': dict(mIoU=1.),
     'depth': dict(mIoU=float('inf'))},
    {'rgb+depth': dict(mIoU=4.), 'rgb': dict(), 'depth': dict(mIoU=2.)},
    {'rgb': dict(mIoU=4.), 'depth': dict(mIoU=2.)},
])  # yapf: disable
def test_undefined_is_none_and_null_never_nan(scores, tmp_path):
    report = build_report(scores, SAMPLES, NAMES)
    flat = flatten_report(report)
    assert flat['avg/PCR'] is None and flat['rgb/PCR'] is None
    assert all(v is None or np.isfinite(v) for v in flat.values())
    save_report(report, str(tmp_path))
    text = (tmp_path / 'missing_modality.json').read_text()
    assert 'NaN' not in text and 'Infinity' not in text
    loaded = json.loads(text)
    assert loaded['avg']['PCR'] == {'mIoU': None}
    if 'rgb+depth' in scores:
        assert 'PCR' not in loaded['combinations']['rgb+depth']


def test_values_that_are_no_numbers_are_left_out():
    scores = {'rgb': dict(
        mIoU=1., classwise=[1, 2], note='x', ious=torch.tensor([1., 2.]))}
    report = build_report(scores, {'rgb': 1}, ['rgb'])
    assert report['combinations']['rgb']['metrics'] == dict(mIoU=1.)


def test_table():
    lines = format_report(build_report(SCORES, SAMPLES, NAMES)).splitlines()
    rows = {
        cells[0]: cells[1:]
        for cells in ([c.strip() for c in line.strip('|').split('|')]
                      for line in lines if line.startswith('|'))
    }
    assert rows['combination'] == ['aAcc', 'mIoU', 'PCR (%)', 'samples']
    assert rows['rgb+depth'] == ['80.00', '47.51', '-', '9']
    assert rows['depth'] == ['90.00', '38.79', '18.35', '7']
    assert rows['avg'] == ['80.00', '42.53', '15.71', '-']
    assert rows['emm_0.2'] == ['80.00', '45.02', '-', '-']


def test_table_of_fractions_shows_their_digits():
    scores = {'rgb': {'coco/bbox_mAP': .2345}}
    assert '0.2345' in format_report(build_report(scores, {'rgb': 1}, ['rgb']))


ERRORS = {
    'rgb+depth': dict(mIoU=50., MAE=2., cost=4.),
    'rgb': dict(mIoU=40., MAE=6., cost=5.),
    'depth': dict(mIoU=30., MAE=3.)
}


def test_lower_is_better():
    """By name, by option, and undefined where nothing was detected."""
    report = build_report(
        ERRORS, SAMPLES, NAMES, ['mIoU', 'MAE', 'cost'],
        higher_is_better=dict(cost=False))
    assert report['higher_is_better'] == dict(
        mIoU=True, MAE=False, cost=False)
    rgb = report['combinations']['rgb']['PCR']
    assert rgb == pytest.approx(dict(mIoU=20., MAE=200., cost=25.))
    assert report['combinations']['depth']['PCR'] == dict(
        mIoU=pytest.approx(40.), MAE=pytest.approx(50.), cost=None)
    assert report['avg']['PCR'] == dict(
        mIoU=pytest.approx(30.), MAE=pytest.approx(125.), cost=None)
    assert report['avg']['metrics']['MAE'] == pytest.approx(11 / 3)
    head = format_report(report).splitlines()[1]
    columns = [cell.strip() for cell in head.strip('|').split('|')]
    assert columns == [
        'combination', 'mIoU', 'MAE ↓', 'cost ↓', 'PCR (%)', 'PCR_MAE (%)',
        'PCR_cost (%)', 'samples'
    ]


def test_direction_of_an_unknown_metric():
    with pytest.raises(
            ValueError, match=r"higher_is_better names \['MSE'\].*'MAE'"):
        build_report(
            ERRORS, SAMPLES, NAMES, higher_is_better=dict(MSE=False))


def test_files_of_a_stage_replace_no_others(tmp_path):
    report = build_report(SCORES, SAMPLES, NAMES)
    for checkpoint in 'abc':
        tested = dict(report, stage='test', checkpoint=checkpoint)
        save_report(tested, str(tmp_path), replace=False)
        save_report(dict(tested, stage='val'), str(tmp_path))
    found = {
        path.stem: json.loads(path.read_text())['checkpoint']
        for path in tmp_path.glob('*.json')
    }
    assert found == dict(
        missing_modality_val='c',
        missing_modality_test='a',
        missing_modality_test_2='b',
        missing_modality_test_3='c')
    for suffix in ('csv', 'png'):
        assert {p.stem for p in tmp_path.glob(f'*.{suffix}')} == set(found)


def test_newest_report(tmp_path):
    """The last of the newest run, of its stage alone."""
    assert newest_report(str(tmp_path), 'test') is None
    report = build_report(SCORES, SAMPLES, NAMES)
    for run, stage in (('20260102_000000', 'test'),
                       ('20260102_000000', 'test'),
                       ('20260101_235959', 'test'),
                       ('old_20260101_235959', 'test'),  # put aside
                       ('20260103_000000', 'val')):
        (tmp_path / run).mkdir(exist_ok=True)
        paths = save_report(
            dict(report, stage=stage), str(tmp_path / run), replace=False)
        os.utime(paths[0], (len(paths[0]), ) * 2)
    assert newest_report(str(tmp_path), 'test') == str(
        tmp_path / '20260102_000000' / 'missing_modality_test_2.json')
    assert newest_report(str(tmp_path), 'val') == str(
        tmp_path / '20260103_000000' / 'missing_modality_val.json')


def test_files(tmp_path):
    report = dict(
        config='a.py',
        checkpoint='iter_3.pth',
        **build_report(SCORES, SAMPLES, NAMES))
    paths = save_report(report, str(tmp_path))
    assert sorted(paths) == sorted(str(p) for p in tmp_path.iterdir())
    loaded = json.loads((tmp_path / 'missing_modality.json').read_text())
    assert loaded == report
    assert loaded['combinations']['depth']['samples'] == 7
    assert loaded['expectation']['0.2']['metrics']['mIoU'] == pytest.approx(
        45.02, abs=.005)
    with open(tmp_path / 'missing_modality.csv', newline='') as file:
        rows = {row['combination']: row for row in csv.DictReader(file)}
    assert list(rows) == [
        'rgb+depth', 'rgb', 'depth', 'avg', 'emm_0.05', 'emm_0.1', 'emm_0.2'
    ]
    assert float(rows['rgb']['mIoU']) == 41.30
    assert float(rows['depth']['PCR']) == report['combinations']['depth'][
        'PCR']['mIoU']
    assert rows['rgb+depth']['PCR'] == '' and rows['avg']['samples'] == ''
    image = cv2.imread(str(tmp_path / 'missing_modality.png'))
    assert image.std() > 10


def test_an_interrupted_write_leaves_the_old_files(tmp_path, monkeypatch):
    save_report(build_report(SCORES, SAMPLES, NAMES), str(tmp_path))
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}

    def interrupted(source, target):
        raise KeyboardInterrupt

    monkeypatch.setattr('os.replace', interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_report(
            build_report(SCORES, SAMPLES, NAMES, metric='aAcc'), str(tmp_path))
    for name, content in before.items():
        assert (tmp_path / name).read_bytes() == content
