"""Statistics over the ranks where a rank's batch lacks a modality."""
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.dist import get_world_size
from mmengine.runner import Runner
from torch import nn
from torch.distributed.nn.functional import all_reduce

from mwam_mm.models.backbones.multi_branch import allow_single_values
from mwam_mm.registry import DATASETS, MODELS

from .. import tiny
from ..processes import run_ranks

BACKBONES = ('MultiModalBackbone', 'ESANetBackbone')


@MODELS.register_module()
class GlooSyncBatchNorm(nn.BatchNorm2d):
    """PyTorch's SyncBatchNorm by its formula; that one refuses the CPU."""

    def forward(self, x):
        if not self.training:
            return nn.functional.batch_norm(
                x, self.running_mean, self.running_var, self.weight,
                self.bias, eps=self.eps)
        over = (0, 2, 3)
        sums = torch.cat([
            x.sum(over), x.square().sum(over),
            x.new_tensor([x.numel() / x.size(1)])
        ])
        if get_world_size() > 1:
            sums = all_reduce(sums)
        total, squares, count = sums.split([x.size(1), x.size(1), 1])
        mean = total / count.clamp(min=1)
        var = squares / count.clamp(min=1) - mean.square()
        # Where all ranks give an empty batch the statistics decay to 0, as
        # those of PyTorch's do.
        self.num_batches_tracked += 1
        self.running_mean.lerp_(mean.detach(), self.momentum)
        self.running_var.lerp_(
            var.detach() * count / (count - 1).clamp(min=1), self.momentum)
        scale = self.weight * (var + self.eps).rsqrt()
        return (x - mean[:, None, None]) * scale[:, None, None] \
            + self.bias[:, None, None]


@DATASETS.register_module()
class LacksDepthByRank(tiny.TinyPairs):
    """The second of two ranks never has depth, and from 4 on no rank has."""

    def __getitem__(self, i):
        item = super().__getitem__(i)
        item['data_samples'].set_metainfo(
            dict(absent_modalities=['depth'] if i % 2 or i >= 4 else []))
        return item


@DATASETS.register_module()
class LacksRGBByRank(tiny.TinyPairs):
    """The same of the main stream."""

    def __getitem__(self, i):
        item = super().__getitem__(i)
        item['data_samples'].set_metainfo(
            dict(absent_modalities=['rgb'] if i % 2 or i >= 4 else []))
        return item


def job(folder, backbone, dataset, batch_size, **overrides):
    """Three iterations in the second of which no rank has the modality."""
    cfg = tiny.config(
        folder / f'{backbone}_{dataset}', max_iters=3, **overrides)
    cfg.default_hooks.checkpoint = None
    cfg.default_hooks.logger = None
    cfg.train_dataloader.batch_size = batch_size
    cfg.train_dataloader.sampler.shuffle = False
    cfg.train_dataloader.dataset.type = f'mwam_mm.{dataset}'
    # so that zeros and None would differ in what they do
    cfg.optim_wrapper.optimizer.update(momentum=0.9, weight_decay=0.1)
    cfg.model.decode_head.update(
        in_index=[0, 1], in_channels=[4, 8], input_transform='resize_concat')
    cfg.model.backbone.branch.norm_cfg = ConfigDict(
        type='mwam_mm.GlooSyncBatchNorm')
    if backbone == 'ESANetBackbone':
        cfg.model.backbone.type = 'mwam_mm.ESANetBackbone'
        cfg.model.pop('neck')
    return cfg


def state_after(cfg):
    """What training leaves, and which parameters lacked a gradient."""
    runner = Runner.from_cfg(cfg)
    model = getattr(runner.model, 'module', runner.model)
    branches, lacking = model.backbone.branches, set()
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    runner.optim_wrapper.optimizer.register_step_pre_hook(
        lambda *_: lacking.update(
            n for n, p in branches.named_parameters() if p.grad is None))
    runner.train()
    return dict(model.state_dict()), lacking


CASES = [(b, d) for b in BACKBONES
         for d in ('LacksDepthByRank', 'LacksRGBByRank')]


def _run(rank, folder):
    found = {
        case: state_after(
            job(folder / 'two', *case, 2, launcher='pytorch',
                model_wrapper_cfg=dict(
                    type='MMDistributedDataParallel', device_ids=None)))
        for case in CASES
    }
    torch.save(found, folder / f'{rank}.pth')


@pytest.fixture(scope='module')
def two(tmp_path_factory):
    """What either rank found."""
    folder = tmp_path_factory.mktemp('two')
    run_ranks(_run, folder)
    return [torch.load(folder / f'{rank}.pth') for rank in range(2)]


@pytest.mark.usefixtures('on_cpu')
@pytest.mark.parametrize('case', CASES, ids=lambda case: '-'.join(case))
def test_a_rank_without_the_modality_joins(two, tmp_path, case):
    """As one process with the joint batch, statistics included."""
    expected, _ = state_after(job(tmp_path, *case, 4))
    for rank in range(2):
        state, lacking = two[rank][case]
        assert not lacking
        assert state.keys() == expected.keys()
        for name, value in expected.items():
            torch.testing.assert_close(
                state[name], value, rtol=1e-4, atol=1e-5, msg=name)
    # Two of the three batches had it.
    modality = 'depth' if 'Depth' in case[1] else 'rgb'
    assert expected[
        f'backbone.branches.{modality}.bn1.num_batches_tracked'] == 2


def test_the_ranks_count_alike_or_the_job_stops(tmp_path, monkeypatch):
    """MMCV's layers by default weight ranks, not samples."""
    backbone = MODELS.build(
        job(tmp_path, *CASES[0], 4, default_scope=None).model.backbone)
    for module in backbone.branches['depth'].modules():
        if isinstance(module, GlooSyncBatchNorm):
            module.stats_mode = 'default'
    monkeypatch.setattr('mwam_mm.models.backbones.multi_branch.get_world_size',
                        lambda: 2)
    x = torch.rand(2, 4, 32, 32)
    x[:, 3] = 0
    with pytest.raises(ValueError, match="\"depth\".*stats_mode='N'"):
        backbone.train()(x)


def test_an_empty_batch_leaves_plain_batch_norm_alone():
    """A branch may have both kinds."""
    layer = nn.BatchNorm2d(3)
    before = {k: v.clone() for k, v in layer.state_dict().items()}
    with allow_single_values(layer):
        assert layer(torch.rand(0, 3, 4, 4)).shape == (0, 3, 4, 4)
    assert layer.training
    for name, value in layer.state_dict().items():
        assert torch.equal(value, before[name])
