"""Optimizer rules for a backbone, applied to every branch."""
import types

import pytest
from mmengine.logging import MMLogger
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from torch import nn

from mwam_mm.cli import build_runner
from mwam_mm.engine.multimodal_optim_wrapper_constructor import (
    check_rules_of_backbone,
)
from mwam_mm.registry import MODELS, OPTIM_WRAPPER_CONSTRUCTORS

from .. import tiny

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


LAYERS = dict(num_layers=3, decay_rate=0.5, decay_type='layer_wise_vit')


@pytest.mark.parametrize('stock, paramwise_cfg', [
    ('LearningRateDecayOptimizerConstructor', LAYERS),
    ('DefaultOptimWrapperConstructor', dict()),
    ('DefaultOptimWrapperConstructor',
     dict(norm_decay_mult=0.5, custom_keys={'backbone.layers.0': dict(
         lr_mult=0.25)})),
])
def test_rules_of_one_branch_multiply(models, stock, paramwise_cfg):
    _, ours = models
    name = 'mwam_mm.MultiModalOptimWrapperConstructor'
    common = dict(paramwise_cfg, constructor=stock)
    without = rules(ours, wrapper(ours, dict(common, norm_decay_mult=1.)
                                  if not paramwise_cfg else common, name))
    common['custom_keys'] = {
        **paramwise_cfg.get('custom_keys', {}),
        'backbone.branches.rgb': dict(lr_mult=0.1, decay_mult=3.),
        'backbone.branches.rgb.layers.1': dict(lr_mult=0.),
    }
    actual = rules(ours, wrapper(ours, common, name))
    for parameter, (lr, decay) in without.items():
        if parameter.startswith('backbone.branches.rgb.layers.1.'):
            lr = 0
        elif parameter.startswith('backbone.branches.rgb.'):
            lr, decay = 0.1 * lr, 3 * decay
        assert actual[parameter] == pytest.approx((lr, decay)), parameter
    # No rule for a parameter came twice or got lost.
    optimizer = wrapper(ours, common, name).optimizer
    listed = [p for g in optimizer.param_groups for p in g['params']]
    assert len(listed) == len(set(listed)) == len(without)
    for group in optimizer.param_groups:
        names = group.get('param_names', group['params'])
        assert len(names) == len(group['params'])


def test_the_optimizer_moves_a_branch_by_its_rate(models):
    _, ours = models
    ours.requires_grad_(False)
    for branch in ours.backbone.branches.values():
        branch.layers.requires_grad_(True)
    optimizer = build_optim_wrapper(
        ours,
        dict(
            constructor='mwam_mm.MultiModalOptimWrapperConstructor',
            optimizer=dict(type='SGD', lr=1.),
            paramwise_cfg=dict(
                custom_keys={'branches.rgb': dict(lr_mult=0.1)}))).optimizer
    before = {n: p.detach().clone() for n, p in ours.named_parameters()}
    for p in ours.parameters():
        p.grad = p.new_ones(p.shape)
    optimizer.step()
    for name, p in ours.named_parameters():
        step = 0 if '.layers.' not in name else 0.1 if '.rgb.' in name else 1
        assert (before[name] - p).allclose(p.new_tensor(float(step))), name


@pytest.mark.parametrize('key', [
    'backbone.branches.infrared', 'backbone.branches.rgb.layer1',
    'backbone.branches.0'])
def test_a_rule_for_no_parameter(models, key):
    with pytest.raises(ValueError, match=f"'{key}', which is in the name of "
                       "no parameter.*'backbone.branches.depth'"):
        wrapper(models[1], dict(custom_keys={key: dict(lr_mult=0.1)}),
                'mwam_mm.MultiModalOptimWrapperConstructor')


def test_building_twice_gives_the_same_rules(models):
    constructor = OPTIM_WRAPPER_CONSTRUCTORS.build(
        dict(
            type='mwam_mm.MultiModalOptimWrapperConstructor',
            optim_wrapper_cfg=dict(optimizer=dict(type='SGD', lr=1.)),
            paramwise_cfg=dict(
                custom_keys={'backbone.branches.rgb': dict(lr_mult=0.1)})))
    first, second = (
        rules(models[1], constructor(models[1]).optimizer) for _ in range(2))
    assert first == second


def test_a_branch_whose_name_begins_like_another():
    names = ('rgb', 'rgb_before')
    model = Host(
        MODELS.build(
            dict(
                type='mwam_mm.MultiModalBackbone',
                modalities={n: dict(channels=3) for n in names},
                branch=dict(BEIT))))
    found = rules(
        model,
        wrapper(model,
                dict(custom_keys={'backbone.branches.rgb': dict(lr_mult=.5)}),
                'mwam_mm.MultiModalOptimWrapperConstructor'))
    for name, (lr, _) in found.items():
        assert lr == (0.5 if '.rgb.' in name else 1), name


def test_numbered_branches_within_a_backbone(models):
    """As HRNet has them; the stock constructor gets the rule."""
    _, ours = models
    for branch in ours.backbone.branches.values():
        branch.branches = nn.ModuleList([nn.Linear(1, 1)])
    found = rules(
        ours,
        wrapper(ours, dict(custom_keys={'branches.0': dict(lr_mult=0.5)}),
                'mwam_mm.MultiModalOptimWrapperConstructor'))
    assert {n for n, (lr, _) in found.items() if lr == 0.5} == {
        f'backbone.branches.{m}.branches.0.{p}'
        for m in MODALITIES for p in ('weight', 'bias')
    }


def test_it_needs_branches(models):
    stock, ours = models
    name = 'mwam_mm.MultiModalOptimWrapperConstructor'
    with pytest.raises(ValueError, match='not BEiT'):
        wrapper(stock, dict(norm_decay_mult=0.), name)
    with pytest.raises(ValueError, match='not Linear.* leave out'):
        wrapper(nn.Linear(1, 1), dict(norm_decay_mult=0.), name)
    ours.backbone.gate = nn.Linear(1, 1)
    with pytest.raises(ValueError, match='2 parameters beside'):
        wrapper(ours, dict(norm_decay_mult=0.), name)


@pytest.mark.parametrize('keys, said', [
    (['backbone.layer1', 'backbone', 'decode_head'], ['backbone.layer1']),
    (['backbone.branches.rgb.layer1', 'layer1', 'nowhere'], []),
    (['rgb', 'branches.rgb', 'branches'], []),
])
@pytest.mark.parametrize('constructor', [
    None, 'mwam_mm.MultiModalOptimWrapperConstructor'])
def test_rules_that_act_on_no_branch(tmp_path, keys, said, constructor,
                                     monkeypatch):
    cfg = tiny.config(tmp_path, max_iters=1)
    cfg.optim_wrapper.paramwise_cfg = dict(
        custom_keys={key: dict(lr_mult=0.1) for key in keys})
    if constructor:
        cfg.optim_wrapper.constructor = constructor
        said = []
    runner = build_runner(cfg)
    messages = []
    monkeypatch.setattr(
        MMLogger.get_current_instance(), 'log',
        lambda level, message: messages.append(message))
    runner.call_hook('before_run')
    assert [m.split(', which')[0] for m in messages if 'custom_keys' in m] == (
        [f'optim_wrapper.paramwise_cfg.custom_keys has {said}']
        if said else [])


def test_rules_that_a_branch_matches_by_its_name(monkeypatch):
    """As "norm", which stands for norm layers, and a branch "normals"."""
    model = nn.Module()
    model.backbone = nn.Module()
    model.backbone.branches = nn.ModuleDict({
        name: nn.ModuleDict(dict(
            conv=nn.Conv2d(3, 4, 1), norm=nn.BatchNorm2d(4)))
        for name in ('rgb', 'normals')
    })

    def said(keys, constructor=None):
        messages = []
        monkeypatch.setattr(
            'mwam_mm.engine.multimodal_optim_wrapper_constructor.print_log',
            lambda message, *_: messages.append(message))
        check_rules_of_backbone(
            types.SimpleNamespace(
                model=model,
                cfg=dict(optim_wrapper=dict(
                    constructor=constructor,
                    paramwise_cfg=dict(custom_keys={
                        key: dict(decay_mult=0.) for key in keys})))))
        return [message.split(': ')[0] for message in messages]

    rules = dict(custom_keys=dict(norm=dict(decay_mult=0.)))
    wrapper = dict(optimizer=dict(type='AdamW', lr=1., weight_decay=1.))
    without_decay = []
    for constructor in ('DefaultOptimWrapperConstructor',
                        'mwam_mm.MultiModalOptimWrapperConstructor'):
        groups = build_optim_wrapper(
            model, dict(wrapper, constructor=constructor,
                        paramwise_cfg=rules)).optimizer.param_groups
        without_decay.append(
            {id(p) for group in groups for p in group['params']
             if group['weight_decay'] == 0})
    conv = id(model.backbone.branches['normals']['conv'].weight)
    assert [conv in ids for ids in without_decay] == [True, False]

    assert said(['norm', 'conv', 'normals']) == [
        "optim_wrapper.paramwise_cfg.custom_keys has ['norm'], which act on "
        'all parameters of a branch whose name they are in']
    assert said(['conv', 'branches.normals']) == []
    assert said(['norm'], 'mwam_mm.MultiModalOptimWrapperConstructor') == []
