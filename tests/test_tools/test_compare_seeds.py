import csv
import json
import os
import signal
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from filelock import FileLock
from mmengine.hooks import Hook

from mwam_mm.registry import HOOKS
from tests import tiny
from tests.benchmarks import REPO
from tests.processes import run_script
from tests.studies import write_report, write_study

TOOL = REPO / 'tools/analysis_tools/compare_seeds.py'


@pytest.fixture
def compare(tmp_path):
    """Runs the tool in an empty folder."""

    def run(*args):
        result = run_script(TOOL, *args, cwd=tmp_path)
        result.stdout += result.stderr
        return result

    return run


@pytest.fixture
def tabulate(load_tool, tmp_path, monkeypatch, capsys):
    """Runs the tool in an empty folder, in this process, which saves the
    imports where no training is to start."""
    tool = load_tool('analysis_tools/compare_seeds')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tool, 'train_all', None)

    def run(*args):
        monkeypatch.setattr(sys, 'argv', ['compare_seeds.py', *args])
        tool.main()
        return capsys.readouterr().out

    return run


def cells(output, config):
    line, = (x for x in output.splitlines() if config in x)
    return [cell.strip() for cell in line.replace('┃', '│').split('│')[1:-1]]


def test_mean_and_deviation_of_finished_runs(tabulate, tmp_path):
    for seed, (both, rgb) in enumerate([(80., 60.), (82., 70.)]):
        write_report(tmp_path, 'a', seed, {'rgb+depth': both, 'rgb': rgb},
                     ['mIoU'])
    said = tabulate('configs/a.py', '--seeds', '0', '1')
    assert 'mIoU' in said
    # Deviations of two values are their difference over sqrt(2).
    assert cells(said, 'a ') == [
        'a', '81.0 ± 1.4', '65.0 ± 7.1', '73.0 ± 4.2', '6.5 ± 0.7']


def test_no_averages_over_other_combinations(tabulate, tmp_path):
    """As of a model of two sensors and one of three."""
    both = {'rgb+depth': 80., 'rgb': 60.}
    for config, more in (('a', {}), ('b', {'depth': 10.})):
        write_report(tmp_path, config, 0, {**both, **more}, ['mIoU'])
    said = tabulate('a.py', 'b.py', '--seeds', '0', '--baseline', 'a')
    assert 'No averages' in said and 'b has depth, rgb, rgb+depth' in said
    path = tmp_path / 'work_dirs/compare_seeds/comparison.json'
    assert json.loads(path.read_text())['columns'] == [
        'rgb+depth', 'rgb', 'depth']


def test_metric_in_shares_of_one(tabulate, tmp_path):
    metrics = ['coco/bbox_mAP', 'coco/bbox_mAP_50']
    write_report(tmp_path, 'a', 0, {'rgb+depth': 0.5218, 'rgb': 0.25}, metrics)
    command = ['a.py', '--seeds', '0', '--metric']
    said = tabulate(*command, 'coco/bbox_mAP_50')
    assert 'coco/bbox_mAP_50' in said
    assert cells(said, 'a ') == ['a', '0.522', '0.250', '0.386', '0.0']
    with pytest.raises(
            ValueError, match='--metric mIoU: the runs have the PCR of'):
        tabulate(*command, 'mIoU')


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
    write_report(tmp_path, 'broken', 0, {'rgb+depth': 80., 'rgb': 60.},
                 ['mIoU'])
    folder = tmp_path / 'work_dirs/compare_seeds/broken/seed0'
    (folder / 'finished').unlink()
    (tmp_path / 'broken.py').write_text('model = dict(\n')
    for _ in range(2):
        result = compare('broken.py', '--seeds', '0')
        assert result.returncode
        assert 'training broken.py with seed 0' in result.stdout
    assert not (folder / 'finished').exists()


def test_a_test_in_the_same_folder_does_not_matter(tabulate, tmp_path):
    write_report(tmp_path, 'a', 0, {'rgb+depth': 80., 'rgb': 60.}, ['mIoU'])
    folder = tmp_path / 'work_dirs/compare_seeds/a/seed0'
    (folder / '20270101_000000').mkdir()
    (folder / '20270101_000000/missing_modality_test.json').write_text('{}')
    said = tabulate('a.py', '--seeds', '0')
    assert cells(said, 'a ') == ['a', '80.0', '60.0', '70.0', '6.0']


def test_a_finished_run_without_its_report(tabulate, tmp_path):
    write_report(tmp_path, 'a', 0, {'rgb+depth': 80., 'rgb': 60.}, ['mIoU'])
    folder = tmp_path / 'work_dirs/compare_seeds/a/seed0'
    (folder / '20260101_000000/missing_modality_val.json').unlink()
    with pytest.raises(
            RuntimeError, match='seed0/finished says that this run is done'):
        tabulate('a.py', '--seeds', '0')


@HOOKS.register_module()
class KillOnce(Hook):
    """Kill the process in its second iteration, unless it did so before."""

    def __init__(self, marker):
        self.marker = Path(marker)

    def after_train_iter(self, runner, batch_idx, data_batch=None,
                         outputs=None):
        if runner.iter == 1 and not self.marker.exists():
            self.marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)


@HOOKS.register_module()
class TerminateTool(Hook):
    """Terminate the process that has forked this one, and train on."""

    def after_train_iter(self, runner, batch_idx, data_batch=None,
                         outputs=None):
        os.kill(os.getppid(), signal.SIGTERM)
        time.sleep(60)


def write_tiny(path, **overrides):
    """A config that trains and validates in seconds."""
    tiny.config(
        path.parent,
        custom_imports=dict(
            imports=['tests.tiny', 'tests.test_tools.test_compare_seeds']),
        train_cfg=dict(
            type='IterBasedTrainLoop', max_iters=2, val_interval=2),
        val_dataloader=dict(
            num_workers=0,
            sampler=dict(type='DefaultSampler', shuffle=False),
            dataset=dict(type='mwam_mm.TinyPairs')),
        val_evaluator=dict(type='IoUMetric'),
        val_cfg=dict(type='mwam_mm.MissingModalityValLoop'),
        **overrides).dump(path)


def report_of(folder):
    path, = folder.glob('*/missing_modality_val.json')
    return json.loads(path.read_text())


def weights_of(folder):
    path, = folder.glob('iter_*.pth')
    return torch.load(path, weights_only=False)['state_dict']


def assert_same_run(one, other):
    """Both have the same weights and scores, to the last bit."""
    a, b = weights_of(one), weights_of(other)
    assert a.keys() == b.keys()
    assert all(torch.equal(a[key], b[key]) for key in a)
    a, b = report_of(one), report_of(other)
    assert a['combinations'] == b['combinations']


def test_a_run_that_is_done(compare, tabulate, tmp_path):
    """It is not repeated, nor taken for one of other settings."""
    write_tiny(tmp_path / 'tiny.py')
    command = 'tiny.py', '--seeds', '0', '--cfg-options'
    lr = 'optim_wrapper.optimizer.lr='
    first = compare(*command, lr + '0.2')
    assert first.returncode == 0, first.stdout
    assert 'training' in first.stdout
    with pytest.raises(
            RuntimeError,
            match='seed0/finished is of a run with other settings'):
        tabulate(*command, lr + '0.3')
    said = tabulate(*command, lr + '0.2')
    assert 'training' not in said
    assert cells(first.stdout, 'tiny ') == cells(said, 'tiny ')


def test_a_killed_run_is_repeated_alone(compare, tmp_path):
    write_tiny(tmp_path / 'job.py')
    (tmp_path / 'study.py').write_text(f"""
seeds = [0]
baseline = 'whole'
variants = dict(
    killed=dict(
        config='job.py',
        options=dict(custom_hooks=[
            dict(type='mwam_mm.KillOnce', marker={str(tmp_path / 'dead')!r})
        ])),
    whole=dict(config='job.py'))
""")
    work = tmp_path / 'work_dirs/studies/study'
    result = compare('--study', 'study.py')
    assert result.returncode
    assert 'killed with seed 0 failed with exit status -9' in result.stdout
    assert not (work / 'killed/seed0/finished').exists()
    # The others went on.
    assert (work / 'whole/seed0/finished').exists()

    result = compare('--study', 'study.py')
    assert result.returncode == 0, result.stdout
    assert 'training killed with seed 0' in result.stdout
    assert 'training whole' not in result.stdout
    assert_same_run(work / 'killed/seed0', work / 'whole/seed0')


def test_terminating_the_tool_ends_its_runs(compare, tmp_path):
    write_tiny(tmp_path / 'tiny.py',
               custom_hooks=[dict(type='mwam_mm.TerminateTool')])
    result = compare('tiny.py', '--seeds', '0', '1', '--jobs', '2')
    assert result.returncode
    assert 'terminated' in result.stdout
    for seed in range(2):  # a run that goes on holds its lock
        folder = tmp_path / f'work_dirs/compare_seeds/tiny/seed{seed}'
        FileLock(folder / 'lock').acquire(timeout=0)
        assert not (folder / 'finished').exists()


def test_several_at_a_time_train_the_same(compare, tmp_path):
    write_tiny(tmp_path / 'tiny.py')
    for jobs in '12':
        result = compare('tiny.py', '--seeds', '0', '1', '--jobs', jobs,
                         '--work-dir', f'jobs{jobs}')
        assert result.returncode == 0, result.stdout
        assert '2 of 2 runs' in result.stdout
    for seed in range(2):
        assert_same_run(*(tmp_path / f'jobs{jobs}/tiny/seed{seed}'
                          for jobs in (1, 2)))
    a, b = (weights_of(tmp_path / f'jobs1/tiny/seed{seed}')
            for seed in range(2))
    assert any(not torch.equal(a[key], b[key]) for key in a)


def test_the_second_stage_starts_from_the_first_of_its_seed(compare,
                                                            tmp_path):
    write_tiny(tmp_path / 'tiny.py')
    stages = []
    for stage, options in (('first', []), ('second', [
            '--cfg-options',
            'load_from=first/tiny/seed{seed}/iter_2.pth',
            'optim_wrapper.optimizer.lr=0'])):
        result = compare('tiny.py', '--seeds', '0', '1', '--work-dir', stage,
                         *options)
        assert result.returncode == 0, result.stdout
        stages.append([weights_of(tmp_path / f'{stage}/tiny/seed{seed}')
                       for seed in range(2)])
    first, second = stages
    names = [key for key in first[0] if 'weight' in key]
    for seed in range(2):
        assert names and all(
            torch.equal(first[seed][k], second[seed][k]) for k in names)
    assert any(not torch.equal(first[0][k], first[1][k]) for k in names)


def test_study_with_ceilings(compare, tmp_path):
    write_study(tmp_path)
    result = compare('--study', 'files.py', '--jobs', '2')
    assert result.returncode == 0, result.stdout
    work = tmp_path / 'work_dirs/studies/files'
    for name in ('rgb', 'thermal'):
        report = report_of(work / f'{name}_alone/seed1')
        assert report['modalities'] == [name]
        weights = weights_of(work / f'{name}_alone/seed1')
        branches = {k.split('.')[2] for k in weights if 'branches.' in k}
        assert branches == {name}

    comparison = json.loads((work / 'comparison.json').read_text())
    assert comparison['columns'] == [
        'rgb+thermal', 'rgb', 'thermal', 'avg', 'avg PCR (%)']
    rows = comparison['rows']
    assert list(rows) == ['md', 'rgb_alone', 'thermal_alone']
    assert list(rows['rgb_alone']) == ['rgb']
    rgb = {
        name: [report_of(work / f'{name}/seed{seed}')['combinations']['rgb']
               ['metrics']['mIoU'] for seed in range(2)]
        for name in ('md', 'rgb_alone')
    }
    for name, key, other in (('md', 'to_ceiling', 'rgb_alone'),
                             ('rgb_alone', 'to_baseline', 'md')):
        entry = rows[name]['rgb']
        assert list(entry['values'].values()) == rgb[name]
        differences = np.subtract(rgb[name], rgb[other])
        half = 12.7062 * differences.std(ddof=1) / 2**.5
        assert entry[key]['mean'] == pytest.approx(differences.mean())
        assert entry[key]['high'] - entry[key]['low'] == pytest.approx(
            2 * half, abs=1e-3)

    text = (work / 'comparison.md').read_text()
    assert 'mIoU, mean ± standard deviation, seeds 0, 1' in text
    assert 'Difference to md, paired by seed' in text
    assert 'Difference to the ceilings, paired by seed' in text
    with open(work / 'comparison.csv') as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 5 + 1 + 1
    assert cv2.imread(str(work / 'comparison.png')).std() > 0

    # A forked run is one of tools/train.py.
    alone = run_script(
        REPO / 'tools/train.py',
        'job.py',
        '--work-dir',
        'alone',
        '--cfg-options',
        'train_cfg.val_begin=1',
        'randomness.seed=1',
        cwd=tmp_path)
    assert alone.returncode == 0, alone.stderr
    assert_same_run(tmp_path / 'alone', work / 'md/seed1')


@pytest.mark.parametrize('arguments, message', [
    ([], '--study'),
    (['a.py', '--jobs', '0'], '--jobs: 0 is not positive'),
    (['a.py', '--baseline', 'b'], "baseline is 'b', but the variants are"),
])
def test_wrong_arguments(exit_of_tool, arguments, message):
    code, said = exit_of_tool('analysis_tools/compare_seeds', *arguments)
    assert code == 2 and message in said


def test_variants_are_those_of_a_study(tabulate, capsys):
    with pytest.raises(SystemExit):
        tabulate('a.py', '--variants', 'a')
    assert 'among those of a --study' in capsys.readouterr().err
