"""What only a GPU can show; a CPU runs the same code, and checks the tests.

Most of the other tests train on a GPU as well, where there is one.
"""
from contextlib import contextmanager

import pytest
import torch
from mmengine.runner import Runner
from torch.overrides import TorchFunctionMode

from mwam_mm.mwam import MWAM

from .. import tiny
from ..processes import run_ranks
from . import test_distributed as distributed
from .test_resume import assert_goes_on_exactly
from .test_set_ups import job, parameters, train
from .ways import WAYS, mwam_hook, way_config

ways = pytest.mark.parametrize('way', WAYS)


@pytest.fixture(params=['cpu', pytest.param('cuda', marks=pytest.mark.cuda)])
def device(request, monkeypatch):
    """Where Runners put their models."""
    monkeypatch.setattr('mmengine.device.utils.DEVICE', request.param)
    return request.param


def _one_rank(rank, folder, device, ways):
    overrides = dict(launcher='pytorch')
    if device == 'cpu':
        overrides['model_wrapper_cfg'] = dict(
            type='MMDistributedDataParallel', device_ids=None)
    found = {}
    for way in ways:
        k, runner = distributed.train(
            distributed.job(folder / f'rank_{way}', 4, way, **overrides))
        assert torch.distributed.get_backend() == (
            'nccl' if device == 'cuda' else 'gloo')
        assert tiny.device_of(runner).type == device
        found[way] = k, distributed.weights_of(runner)
    torch.save(found, folder / 'found.pth')


def test_one_distributed_process_equals_none(tmp_path, device):
    """K is reduced by NCCL on a GPU."""
    ways = ['hook-gradient', 'neck-loss']
    run_ranks(_one_rank, tmp_path, device, ways, size=1, device=device)
    found = torch.load(tmp_path / 'found.pth', weights_only=False)
    for way in ways:
        k, runner = distributed.train(
            distributed.job(tmp_path / way, 4, way))
        actual_k, weights = found[way]
        torch.testing.assert_close(actual_k, k, rtol=0, atol=1e-6)
        for name, p in runner.model.named_parameters():
            torch.testing.assert_close(
                weights[name], p.detach().cpu(), rtol=0, atol=1e-5)


def changes(runner, before):
    """What training changed in all parameters, as one vector."""
    return torch.cat([(p - before[n]).detach().flatten()
                      for n, p in parameters(runner).items()])


@pytest.mark.parametrize('dtype', ['bfloat16', 'float16'])
@ways
def test_mixed_precision(tmp_path, device, amp, dtype, way):
    """K is that of float32, and training nearly so."""
    if (device, dtype) == ('cpu', 'float16'):
        pytest.skip('MMEngine has no float16 on CPUs')
    _, start = train(
        job(tmp_path / 'start', way, dict(optimizer=dict(type='SGD', lr=0.))))
    k, full = train(job(tmp_path / 'full', way))
    mixed_k, mixed = train(
        job(tmp_path / 'mixed', way,
            dict(type='AmpOptimWrapper', dtype=dtype, loss_scale=128.)))
    assert tiny.device_of(mixed).type == device
    assert torch.equal(mixed_k, k)
    before = parameters(start)
    expected = changes(full, before)
    difference = changes(mixed, before) - expected
    assert difference.norm() < 0.1 * expected.norm()


@pytest.mark.parametrize('way', ['hook-update', 'neck-loss'])
def test_resuming_from_a_checkpoint_on_the_cpu(tmp_path, monkeypatch, device,
                                               way):
    """Bit for bit; MMEngine's own way, to the GPU, is in test_resume.py."""
    load = Runner.load_checkpoint

    def load_to_cpu(self, filename, *args, **kwargs):
        return load(self, filename, map_location='cpu')

    monkeypatch.setattr(Runner, 'load_checkpoint', load_to_cpu)
    assert_goes_on_exactly(tmp_path, way, 'iterations')


class ReadingFails(TorchFunctionMode):
    """Refuses what would wait for the device if tensors were on one."""

    NAMES = ('item', 'tolist', 'numpy', 'cpu', 'nonzero', 'new_tensor',
             '__bool__', '__float__', '__int__', '__index__')

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if getattr(function, '__name__', '') in self.NAMES:
            raise RuntimeError(f'{function.__name__} waits for the device')
        return function(*args, **(kwargs or {}))


@contextmanager
def waiting_fails(device):
    """Make it an error to wait for the device."""
    if device == 'cpu':
        with ReadingFails():
            yield
        return
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode('error')
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)


def test_waiting_is_noticed(device):
    x = torch.ones(2, device=device)
    for wait in (bool, torch.Tensor.tolist, torch.nonzero):
        with waiting_fails(device), pytest.raises(RuntimeError):
            wait(x[0] if wait is bool else x)


@ways
def test_mwam_does_not_wait_for_the_device(tmp_path, monkeypatch, device,
                                           way):
    """Measuring, the branches, the neck, the backward pass, the step and the
    hook's part of an iteration that logs nothing.

    Dropping modalities of a batch reads the K of the one before.
    """
    cfg = way_config(tmp_path, way, max_iters=4)
    cfg.default_hooks.logger.interval = 100
    cfg.train_dataloader.dataset.size = 64  # no epoch ends, which would log
    runner = Runner.from_cfg(cfg)
    hook = mwam_hook(runner)
    guarded = set()

    def guard(owner, name):
        method = getattr(owner, name)

        def call(*args, **kwargs):
            if runner.iter == 0:  # in which libraries start and compile
                return method(*args, **kwargs)
            guarded.add(name)
            with waiting_fails(device):
                return method(*args, **kwargs)

        monkeypatch.setattr(owner, name, call)

    for name in ('observe', 'step'):
        guard(MWAM, name)
    for module in (runner.model.backbone, runner.model.neck):
        guard(module, 'forward')
    guard(hook, 'after_train_iter')
    if way != 'neck-dropout':
        guard(hook, 'before_train_iter')
    build = runner.build_optim_wrapper

    def build_guarded(*args, **kwargs):
        wrapper = build(*args, **kwargs)
        guard(wrapper, 'backward')
        guard(wrapper, 'step')
        return wrapper

    runner.build_optim_wrapper = build_guarded
    runner.train()
    assert guarded >= {
        'observe', 'step', 'forward', 'backward', 'after_train_iter'
    }
