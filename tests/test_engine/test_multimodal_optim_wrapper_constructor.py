"""Optimizer rules for a backbone, applied to every branch."""
import pytest
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from torch import nn

from mwam_mm.registry import MODELS

MODALITIES = dict(rgb=dict(channels=3), depth=dict(channels=1))
BEIT = dict(
    type='BEiT',
    img_size=(32, 32),
    patch_size=16,
    embed_dims=8,
    num_layers=3,
    num_heads=2,
    out_indices=(0, 1, 2),
    qv_bias=True)


@pytest.fixture(autouse=True)
def _scope():
    init_default_scope('mmseg')


def wrapper(model, paramwise_cfg, constructor=None):
    cfg = dict(
        type='OptimWrapper',
        optimizer=dict(type='AdamW', lr=1., weight_decay=0.1),
        paramwise_cfg=dict(paramwise_cfg))
    if constructor:
        cfg['constructor'] = constructor
    return build_optim_wrapper(model, cfg)


def rules(model, optimizer):
    """Name of each parameter to its learning rate and decay."""
    groups = {
        p: (group['lr'], group['weight_decay'])
        for group in optimizer.param_groups for p in group['params']
    }
    return {n: groups[p] for n, p in model.named_parameters()}


class Host(nn.Module):
    """A backbone and a head, in which a token stands beside the children."""

    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone
        self.decode_head = nn.Conv2d(3, 3, 1)
        self.token = nn.Parameter(self.decode_head.bias.detach().clone())


@pytest.fixture
def models():
    stock = Host(MODELS.build(dict(BEIT)))
    ours = Host(
        MODELS.build(
            dict(
                type='mwam_mm.MultiModalBackbone',
                modalities=MODALITIES,
                branch=dict(BEIT))))
    return stock, ours


@pytest.mark.parametrize('constructor, paramwise_cfg', [
    ('LearningRateDecayOptimizerConstructor',
     dict(num_layers=3, decay_rate=0.5, decay_type='layer_wise_vit')),
    (None,
     dict(
         norm_decay_mult=0.5,
         custom_keys={
             'backbone.layers.0': dict(lr_mult=0.25),
             'backbone': dict(lr_mult=0.5, decay_mult=2.),
         })),
])
def test_every_branch_has_the_rules_of_the_stock_backbone(
        models, constructor, paramwise_cfg):
    stock, ours = models
    expected = rules(stock, wrapper(stock, paramwise_cfg, constructor))
    assert len(set(expected.values())) >= 3
    if constructor:
        paramwise_cfg = dict(paramwise_cfg, constructor=constructor)
    actual = rules(
        ours,
        wrapper(ours, paramwise_cfg,
                'mwam_mm.MultiModalOptimWrapperConstructor'))
    assert len(actual) == 2 * len(expected) - 3
    for name, rule in actual.items():
        for branch in MODALITIES:
            name = name.replace(f'backbone.branches.{branch}.', 'backbone.')
        assert rule == expected[name], name


def test_it_needs_branches(models):
    stock, ours = models
    name = 'mwam_mm.MultiModalOptimWrapperConstructor'
    with pytest.raises(ValueError, match='not BEiT'):
        wrapper(stock, dict(norm_decay_mult=0.), name)
    ours.backbone.gate = nn.Linear(1, 1)
    with pytest.raises(ValueError, match='2 parameters beside'):
        wrapper(ours, dict(norm_decay_mult=0.), name)
