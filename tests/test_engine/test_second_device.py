"""Training on a device whose tensors do not mix with those of the CPU."""
import pytest
import torch
from mmengine.runner import Runner

from .. import second_device, tiny
from ..processes import run_ranks
from ..test_balance.test_comparator_runs import METHODS
from ..test_balance.test_comparator_runs import config as balanced
from .ways import WAYS, way_config

MWAM = dict(type='mwam_mm.MWAM')
JOBS = {
    **{name: METHODS[name] for name in (
        'OGM-GE', 'AGM', 'OPM', 'MSES', 'LFM', 'MMPareto')},
    'combination': (MWAM, [
        dict(type='combination', weights='k'),
        dict(type='distill', weights='k'), 'detach']),
    'paired': (MWAM, [
        dict(type='combination', subsets='paired', weights='k'),
        dict(type='distill', on='features')]),
}
NAMES = ['hook-update', 'neck-loss', *JOBS]


def job(work_dir, name):
    if name in WAYS:
        return way_config(work_dir, name, max_iters=3)
    cfg = balanced(work_dir, *JOBS[name], max_iters=3)
    cfg.default_hooks.checkpoint.interval = 2
    return cfg


def state_of(runner):
    return {k: v.cpu() for k, v in runner.model.state_dict().items()}


def _trains(rank, folder, name):
    second_device.set_up()
    runner = Runner.from_cfg(job(folder / 'cpu', name))
    runner.train()
    expected = state_of(runner)
    with second_device.runs_on_it():
        tiny.kill(job(folder / 'killed', name), 2)
        cfg = job(folder / 'killed', name)
        cfg.resume = True
        runner = Runner.from_cfg(cfg)
        runner.train()
        assert tiny.device_of(runner).type == second_device.NAME
        found = state_of(runner)
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('name', NAMES)
def test_training_and_resuming(tmp_path, name):
    """They give what they give on the CPU."""
    second_device.require()
    run_ranks(_trains, tmp_path, name, size=1)


def _left_behind(rank):
    second_device.set_up()
    x = torch.ones(3)
    with second_device.runs_on_it():
        there = x.to(second_device.NAME)
        with pytest.raises(RuntimeError, match='are on the CPU'):
            there + x
        with pytest.raises(RuntimeError, match='numpy'):
            there.numpy()
        assert torch.equal((2 * there).cpu(), 2 * x)


def test_what_is_left_behind_is_noticed():
    second_device.require()
    run_ranks(_left_behind, size=1)
