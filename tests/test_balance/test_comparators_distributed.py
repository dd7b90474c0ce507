"""Comparators in two processes against one, where one rank lacks depth."""
import pytest
import torch
from mmseg.models.decode_heads import FCNHead

from mwam_mm.registry import MODELS

from ..processes import run_ranks
from ..test_engine import test_distributed  # noqa: F401, registers
from .test_comparator_runs import METHODS, config, run

pytestmark = pytest.mark.usefixtures('on_cpu')
NAMES = ('OGM-GE', 'OGM by loss', 'OGM by class', 'AGM', 'AGM by loss',
         'LFM', 'MMPareto')


@MODELS.register_module()
class CountingHead(FCNHead):
    """How often it runs."""

    calls = 0

    def forward(self, inputs):
        self.calls += 1
        return super().forward(inputs)


def job(folder, name, batch_size, **overrides):
    cfg = config(folder / name, *METHODS[name], max_iters=3)
    cfg.train_dataloader.batch_size = batch_size
    cfg.train_dataloader.sampler.shuffle = False
    cfg.train_dataloader.dataset.type = 'mwam_mm.OddPairsLackDepth'
    cfg.model.decode_head.type = 'mwam_mm.CountingHead'
    cfg.default_hooks.checkpoint = None
    for key in ('val_dataloader', 'val_cfg', 'val_evaluator'):
        cfg.pop(key)
    cfg.update(overrides)
    return cfg


def _run(rank, folder):
    found = {}
    for name in NAMES:
        runner, k = run(job(
            folder, name, 2, launcher='pytorch',
            model_wrapper_cfg=dict(
                type='MMDistributedDataParallel', device_ids=None)))
        model = runner.model.module
        found[name] = k, model.state_dict(), model.decode_head.calls
    torch.save(found, folder / f'{rank}.pth')


@pytest.fixture(scope='module')
def two(tmp_path_factory):
    folder = tmp_path_factory.mktemp('two')
    run_ranks(_run, folder)
    return [torch.load(folder / f'{rank}.pth', weights_only=False)
            for rank in range(2)]


@pytest.mark.parametrize('name', NAMES)
def test_ranks_agree(tmp_path, two, name):
    (k, state, calls), (other_k, other, other_calls) = (
        found[name] for found in two)
    assert torch.equal(k, other_k)
    # Heads may communicate, and the ranks must meet each time.
    assert calls == other_calls
    for key, value in state.items():
        assert torch.equal(value, other[key]), key
    if name in ('LFM', 'MMPareto'):
        return  # whose means and angles are those of a rank's batch
    _, whole = run(job(tmp_path, name, 4))
    torch.testing.assert_close(k, whole, rtol=1e-3, atol=1e-3)
