"""Tests of the shell scripts that launch tools/train.py and test.py."""
import os
import subprocess

import pytest

from .conftest import TOOLS


@pytest.fixture
def launch(tmp_path):
    """Run a launcher whose programs print their arguments instead."""
    stub = tmp_path / 'srun'
    stub.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    stub.chmod(0o755)

    def run(name, *argv, **environment):
        path = f'{tmp_path}{os.pathsep}{os.environ["PATH"]}'
        return subprocess.run(
            [str(TOOLS / name), *argv],
            env=dict(os.environ, PATH=path, PYTHON=str(stub), **environment),
            capture_output=True,
            text=True)

    return run


@pytest.mark.parametrize('tool, own', [
    ('train', ['c.py']),
    ('test', ['c.py', 'c.pth']),
])
def test_dist(launch, tool, own):
    run = launch(f'dist_{tool}.sh', *own, '2', '--work-dir', 'a b',
                 MASTER_ADDR='host', NNODES='3')
    args = run.stdout.splitlines()
    script = args.index(str(TOOLS / f'{tool}.py'))
    assert args[:2] == ['-m', 'torch.distributed.run']
    assert {'--nproc_per_node=2', '--nnodes=3', '--node_rank=0',
            '--master_addr=host'} < set(args[:script])
    assert args[script + 1:] == [
        *own, '--launcher', 'pytorch', '--work-dir', 'a b'
    ]


@pytest.mark.parametrize('tool, own', [
    ('train', ['c.py']),
    ('test', ['c.py', 'c.pth']),
])
def test_slurm(launch, tool, own):
    run = launch(f'slurm_{tool}.sh', 'gpu', 'job', *own, '--work-dir', 'a b',
                 GPUS='16', SRUN_ARGS='--qos=x --mem=8G')
    args = run.stdout.splitlines()
    script = args.index(str(TOOLS / f'{tool}.py'))
    assert args[:3] == ['-p', 'gpu', '--job-name=job']
    assert {'--ntasks=16', '--ntasks-per-node=8', '--gres=gpu:8', '--qos=x',
            '--mem=8G'} < set(args[:script])
    assert args[script + 1:] == [
        *own, '--launcher', 'slurm', '--work-dir', 'a b'
    ]


@pytest.mark.parametrize('name', [
    'dist_train.sh', 'dist_test.sh', 'slurm_train.sh', 'slurm_test.sh'
])
def test_usage(launch, name):
    run = launch(name, 'c.py')
    assert run.returncode == 2
    assert 'usage: ' in run.stderr and name in run.stderr
