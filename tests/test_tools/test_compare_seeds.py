import json
import os
import subprocess
import sys

import pytest

from tests import tiny
from tests.benchmarks import REPO

TOOL = REPO / 'tools/analysis_tools/compare_seeds.py'


@pytest.fixture
def compare(tmp_path):
    """Runs the tool in an empty folder."""

    def run(*args):
        return subprocess.run(
            [sys.executable, str(TOOL), *args],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            universal_newlines=True,
            env=dict(os.environ, PYTHONPATH=str(REPO)))

    return run


def write(folder, config, seed, scores, metrics):
    """The report of a finished run, whose PCR is a tenth of the score."""
    path = folder / f'work_dirs/compare_seeds/{config}/seed{seed}'
    run = path / '20260101_000000'
    run.mkdir(parents=True)
    (run / 'missing_modality_val.json').write_text(json.dumps(dict(
        combinations={
            name: dict(metrics=dict.fromkeys(metrics, score))
            for name, score in scores.items()},
        avg=dict(
            metrics=dict.fromkeys(metrics, sum(scores.values()) / 2),
            PCR=dict.fromkeys(metrics, scores['rgb'] / 10)))))
    (path / 'finished').touch()


def cells(output, config):
    line, = (x for x in output.splitlines() if config in x)
    return [cell.strip() for cell in line.replace('┃', '│').split('│')[1:-1]]


def test_mean_and_deviation_of_finished_runs(compare, tmp_path):
    for seed, (both, rgb) in enumerate([(80., 60.), (82., 70.)]):
        write(tmp_path, 'a', seed, {'rgb+depth': both, 'rgb': rgb}, ['mIoU'])
    result = compare('configs/a.py', '--seeds', '0', '1')
    assert result.returncode == 0, result.stdout
    assert 'mIoU' in result.stdout
    # Deviations of two values are their difference over sqrt(2).
    assert cells(result.stdout, 'a ') == [
        'a', '81.0 ± 1.4', '65.0 ± 7.1', '73.0 ± 4.2', '6.5 ± 0.7']


def test_metric_in_shares_of_one(compare, tmp_path):
    metrics = ['coco/bbox_mAP', 'coco/bbox_mAP_50']
    write(tmp_path, 'a', 0, {'rgb+depth': 0.5218, 'rgb': 0.25}, metrics)
    command = ['a.py', '--seeds', '0', '--metric']
    result = compare(*command, 'coco/bbox_mAP_50')
    assert 'coco/bbox_mAP_50' in result.stdout
    assert cells(result.stdout, 'a ') == ['a', '0.522', '0.250', '0.386',
                                          '0.0']
    result = compare(*command, 'mIoU')
    assert result.returncode
    assert '--metric mIoU: the runs have the PCR of' in result.stdout


def test_a_run_that_fails_names_its_log(compare, tmp_path):
    (tmp_path / 'broken.py').write_text('model = dict(\n')
    result = compare('broken.py', '--seeds', '3')
    assert result.returncode
    log = 'work_dirs/compare_seeds/broken/seed3/train.log'
    assert 'broken.py with seed 3 failed with exit status 1: see ' + log in \
        result.stdout
    assert (tmp_path / log).read_text()


def test_a_run_that_was_cut_off_is_repeated(compare, tmp_path):
    """Its validations so far have written the report."""
    write(tmp_path, 'broken', 0, {'rgb+depth': 80., 'rgb': 60.}, ['mIoU'])
    folder = tmp_path / 'work_dirs/compare_seeds/broken/seed0'
    (folder / 'finished').unlink()
    (tmp_path / 'broken.py').write_text('model = dict(\n')
    for _ in range(2):
        result = compare('broken.py', '--seeds', '0')
        assert result.returncode
        assert 'training broken.py with seed 0' in result.stdout
    assert not (folder / 'finished').exists()


def test_a_test_in_the_same_folder_does_not_matter(compare, tmp_path):
    write(tmp_path, 'a', 0, {'rgb+depth': 80., 'rgb': 60.}, ['mIoU'])
    folder = tmp_path / 'work_dirs/compare_seeds/a/seed0'
    (folder / '20270101_000000').mkdir()
    (folder / '20270101_000000/missing_modality_test.json').write_text('{}')
    result = compare('a.py', '--seeds', '0')
    assert result.returncode == 0, result.stdout
    assert cells(result.stdout, 'a ') == ['a', '80.0', '60.0', '70.0', '6.0']


def test_a_finished_run_without_its_report(compare, tmp_path):
    write(tmp_path, 'a', 0, {'rgb+depth': 80., 'rgb': 60.}, ['mIoU'])
    folder = tmp_path / 'work_dirs/compare_seeds/a/seed0'
    (folder / '20260101_000000/missing_modality_val.json').unlink()
    result = compare('a.py', '--seeds', '0')
    assert result.returncode
    assert 'seed0/finished says that this run is done' in result.stdout


def test_a_run_that_ends_well_is_not_repeated(compare, tmp_path):
    cfg = tiny.config(
        tmp_path,
        custom_imports=dict(imports='tests.tiny'),
        train_cfg=dict(
            type='IterBasedTrainLoop', max_iters=2, val_interval=2),
        val_dataloader=dict(
            num_workers=0,
            sampler=dict(type='DefaultSampler', shuffle=False),
            dataset=dict(type='mwam_mm.TinyPairs')),
        val_evaluator=dict(type='IoUMetric'),
        val_cfg=dict(type='mwam_mm.MissingModalityValLoop'))
    cfg.dump(tmp_path / 'tiny.py')
    first = compare('tiny.py', '--seeds', '0')
    assert first.returncode == 0, first.stdout
    assert 'training' in first.stdout
    second = compare('tiny.py', '--seeds', '0')
    assert 'training' not in second.stdout
    assert cells(first.stdout, 'tiny ') == cells(second.stdout, 'tiny ')
