"""What training does, and says, when the data is bad."""
import pytest
import torch
from mmengine.runner import Runner

from mwam_mm.registry import DATASETS

from .. import tiny
from ..stacks import needs_detection
from .ways import WAYS, k_of_every_iteration, way_config


@DATASETS.register_module()
class PairsWithHoles(tiny.TinyPairs):
    """Depth of the samples 4 to 7 has pixels that are no numbers."""

    def __getitem__(self, i):
        item = super().__getitem__(i)
        if i >= 4:
            item['inputs'][3, :2, :2] = float('nan')
        return item


def build(work_dir, way, dataset, **kwargs):
    cfg = way_config(work_dir, way, **kwargs)
    cfg.train_dataloader.sampler.shuffle = False
    cfg.train_dataloader.dataset.type = dataset
    runner = Runner.from_cfg(cfg)
    runner.warnings = []
    runner.logger.warning = runner.warnings.append
    return runner


ways = pytest.mark.parametrize('way', WAYS)


@ways
def test_training_goes_on_and_says_so_once(tmp_path, way):
    runner = build(tmp_path, way, 'mwam_mm.PairsWithHoles', max_iters=6)
    history = k_of_every_iteration(runner)
    runner.train()
    k = torch.stack(history)
    assert runner.iter == 6
    assert k.isfinite().all() and (k > 0.5).all() and (k < 1.5).all()
    said = [w for w in runner.warnings if 'not finite' in w]
    assert len(said) == 1
    assert "['depth']" in said[0] and 'iteration 2' in said[0]


@needs_detection
def test_training_stops_where_configured(tmp_path):
    runner = build(tmp_path, 'hook-gradient', 'mwam_mm.PairsWithHoles',
                   max_iters=6)
    runner.register_hook(dict(type='mmdet.CheckInvalidLossHook', interval=1))
    with pytest.raises(AssertionError):
        runner.train()
    assert runner.iter == 1


def test_nothing_is_said_of_good_data(tmp_path):
    runner = build(tmp_path, 'hook-gradient', 'mwam_mm.TinyPairs')
    runner.train()
    assert not any('MWAM' in w for w in runner.warnings)
