"""The main job in small through the command line."""
import glob
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ..processes import run_script
from ..reports import read_report

REPO = Path(__file__).resolve().parents[2]
COMBINATIONS = ['rgb+depth', 'rgb', 'depth']


def run(*args, **environment):
    """A command as a user gives it."""
    return output_of(
        subprocess.run(
            list(map(str, args)),
            cwd=REPO,
            capture_output=True,
            text=True,
            env=dict(os.environ, OMP_NUM_THREADS='1', **environment)))


def output_of(result):
    output = result.stdout + result.stderr
    assert result.returncode == 0, output[-5000:]
    return result.stdout


def run_test(root, *args):
    return output_of(
        run_script(
            'tools/test.py',
            root / 'work/rgbd_seg_mwam.py',
            root / 'work/iter_2.pth',
            *args,
            cwd=REPO))


def small(root):
    """Options that cut the flagship to two iterations on eight scenes."""
    head = 'model.decode_head.init_cfg'
    options = ['train_cfg.max_iters=2', 'train_cfg.val_interval=2',
               'env_cfg.cudnn_benchmark=False',
               'default_hooks.logger.interval=1',
               'train_dataloader.batch_size=4',
               # By its own deviation it would predict one class everywhere.
               f'{head}.type=Normal', f'{head}.std=1',
               f'{head}.override.name=conv_seg']
    for loader in ('train', 'val', 'test'):
        dataset = f'{loader}_dataloader.dataset'
        options += [
            f'{loader}_dataloader.num_workers=0',
            f'{loader}_dataloader.persistent_workers=False',
            f'{dataset}.data_root={root / "scenes"}',
            f'{dataset}.scene_cfg.splits.train=8',
            f'{dataset}.scene_cfg.splits.val=3',
            f'{dataset}.scene_cfg.height=64',
            f'{dataset}.scene_cfg.width=96',
        ]
    return options


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """The flagship in small."""
    root = tmp_path_factory.mktemp('main_job')
    out = run(sys.executable, 'tools/train.py', 'configs/rgbd_seg_mwam.py',
              '--work-dir', root / 'work', '--cfg-options', *small(root))
    return root, out


def test_training_ends_with_the_table(trained):
    root, out = trained
    table = out[out.index('Evaluation with missing modalities'):]
    for name in (*COMBINATIONS, 'avg', 'PCR'):
        assert name in table
    report = read_report(root / 'work', 'val')
    assert list(report['combinations']) == COMBINATIONS
    assert all(c['samples'] == 3 for c in report['combinations'].values())
    for name in ('*/missing_modality_val.csv', '*/missing_modality_val.png',
                 'iter_2.pth'):
        path, = (root / 'work').glob(name)
        assert path.stat().st_size > 0
    scalars, = glob.glob(str(root / 'work/*/vis_data/scalars.json'))
    with open(scalars) as f:
        assert 'mwam/K_depth' in json.loads(f.readline())
    assert glob.glob(str(root / 'work/*/vis_data/events.out.tfevents*'))


def test_testing_the_dumped_config_gives_the_same_scores(trained):
    root, _ = trained
    trained_report = read_report(root / 'work', 'val')
    run_test(root, '--work-dir', root / 'tested', '--combinations', 'all')
    report = read_report(root / 'tested', 'test')
    scores = {
        frozenset(name.split('+')): entry['metrics']
        for name, entry in report['combinations'].items()
    }
    for name, entry in trained_report['combinations'].items():
        tested = scores[frozenset(name.split('+'))]
        assert tested == pytest.approx(entry['metrics'], abs=0.05)
    assert len({metrics['aAcc'] for metrics in scores.values()}) == 3
    assert report['checkpoint'] == 'iter_2.pth'


def test_missing_sensor_by_flag(trained):
    root, _ = trained
    report = read_report(root / 'work', 'val')
    expected = report['combinations']['rgb']['metrics']
    out = run_test(root, '--work-dir', root / 'missing', '--missing', 'depth')
    line = [x for x in out.splitlines() if 'Iter(test)' in x][-1]
    for name, value in expected.items():
        found, = re.findall(rf' {name}: ([0-9.]+)', line)
        assert float(found) == pytest.approx(value, abs=0.05)


def test_two_processes(trained, unused_port):
    """dist_train.sh and dist_test.sh, on CPUs as there may be one GPU."""
    root, _ = trained
    launch = dict(
        PYTHON=sys.executable, PORT=str(unused_port), CUDA_VISIBLE_DEVICES='')
    run('tools/dist_train.sh', 'configs/rgbd_seg_mwam.py', 2, '--work-dir',
        root / 'two', '--cfg-options', *small(root),
        'train_dataloader.batch_size=2', **launch)
    scalars, = glob.glob(str(root / 'two/*/vis_data/scalars.json'))
    with open(scalars) as f:
        first = json.loads(f.readline())
    assert {'mwam/K_rgb', 'mwam/K_depth', 'mwam/FRM_depth'} < set(first)
    run('tools/dist_test.sh', root / 'two/rgbd_seg_mwam.py',
        root / 'two/iter_2.pth', 2, '--work-dir', root / 'two_tested',
        '--combinations', 'all', **launch)
    # Not the same scores: each rank validated with its own BatchNorm
    # statistics, of which the checkpoint holds the first rank's.
    for folder, stage in (('two', 'val'), ('two_tested', 'test')):
        report = read_report(root / folder, stage)
        assert all(c['samples'] == 3 for c in report['combinations'].values())
