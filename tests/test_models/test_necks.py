"""Fusions and the neck wrapper."""
import copy
from functools import partial

import pytest
import torch
from mmengine.registry import DefaultScope

from mwam_mm.models import (
    ConcatFusion,
    GatedFusion,
    MeanVarFusion,
    MultiModalBackbone,
    MWAMNeck,
    SumFusion,
)
from mwam_mm.models.backbones import BranchOutputs
from mwam_mm.mwam import MWAM

from . import test_backbones

MODALITIES = test_backbones.MODALITIES


def neck(**kwargs):
    torch.manual_seed(0)
    return MWAMNeck(MODALITIES, in_channels=[4, 8], **kwargs)


def features(channels=4):
    torch.manual_seed(2)
    return dict(
        rgb=torch.randn(2, channels, 5, 6),
        depth=torch.randn(2, channels, 5, 6))


def test_sum_fusion():
    f = features()
    assert torch.equal(
        SumFusion(dict(rgb=4, depth=4))(f), f['rgb'] + f['depth'])


def test_concat_fusion_is_a_matrix_product():
    f = features()
    fusion = ConcatFusion(dict(rgb=4, depth=4), out_channels=3)
    weight = fusion.conv.conv.weight[:, :, 0, 0]
    expected = torch.einsum('oc,bchw->bohw', weight,
                            torch.cat([f['depth'], f['rgb']], 1))
    expected = expected + fusion.conv.conv.bias[:, None, None]
    assert torch.allclose(fusion(f), expected, atol=1e-5)


@pytest.mark.parametrize(
    'fusion', (SumFusion, ConcatFusion, GatedFusion, MeanVarFusion))
def test_the_order_of_the_modalities_does_not_matter(fusion):
    f = features()
    one, other = fusion(dict(rgb=4, depth=4)), fusion(dict(depth=4, rgb=4))
    other.load_state_dict(one.state_dict())
    assert torch.allclose(
        one(f), other(dict(depth=f['depth'], rgb=f['rgb'])), atol=1e-6)


def test_gated_fusion_by_hand():
    f = features()
    fusion = GatedFusion(dict(rgb=4, depth=4), ratio=2)
    expected = 0
    for name, x in f.items():
        squeeze, excite = fusion.gates[name][1], fusion.gates[name][3]
        s = x.mean((2, 3))
        s = (s @ squeeze.weight[:, :, 0, 0].T + squeeze.bias).relu()
        s = (s @ excite.weight[:, :, 0, 0].T + excite.bias).sigmoid()
        expected = expected + x * s[:, :, None, None]
    assert torch.allclose(fusion(f), expected, atol=1e-6)
    # 4 / 16 would be no channel at all.
    gates = GatedFusion(dict(rgb=4, depth=4)).gates
    assert [gates[name][1].out_channels for name in gates] == [1, 1]


@pytest.mark.parametrize('fusion', [GatedFusion, SumFusion])
def test_what_is_wholly_absent_is_not_added_in_evaluation(fusion):
    module = fusion(dict(rgb=4, depth=4))
    f = dict(features(), depth=torch.zeros(2, 4, 5, 6))
    present = dict(rgb=[True, False], depth=[False, False])
    training = module(f, present)
    ran = []
    for layer in module.modules():
        layer.register_forward_hook(lambda m, *_: ran.append(m))
    evaluation = module.eval()(f, present)
    assert torch.equal(training, evaluation)
    if fusion is GatedFusion:
        assert module.gates['rgb'] in ran and module.gates['depth'] not in ran
    # In a blank window there is nothing else.
    nothing = dict.fromkeys(present, [False, False])
    assert module(f, nothing).shape == f['depth'].shape


def test_mean_var_fusion_takes_the_present_only():
    names = ('rgb', 'depth', 'thermal')
    f = {name: torch.randn(3, 4, 5, 6) for name in names}
    present = dict(
        rgb=[True, True, False],
        depth=[True, False, True],
        thermal=[True, False, True])
    for name in names:
        f[name][[not p for p in present[name]]] = 0
    fusion = MeanVarFusion(dict.fromkeys(names, 4), out_channels=2)
    out = fusion(f, present)
    for i in range(3):
        x = torch.stack([f[n][i] for n in names if present[n][i]])
        stats = torch.cat([x.mean(0), x.var(0, unbiased=False)])
        expected = fusion.conv.conv(stats[None])[0]
        assert torch.allclose(out[i], expected, atol=1e-5)
    x = torch.stack([f[n] for n in names])
    stats = torch.cat([x.mean(0), x.var(0, unbiased=False)], 1)
    assert torch.allclose(fusion(f), fusion.conv.conv(stats), atol=1e-5)


def test_a_variance_beyond_float16():
    torch.manual_seed(0)
    fusion = MeanVarFusion(dict(rgb=4, depth=4))
    features = {
        name: (far + torch.randn(2, 4, 3, 5)).half()
        for name, far in (('rgb', 300.), ('depth', -300.))
    }
    x = torch.stack([f.double() for f in features.values()])
    expected = copy.deepcopy(fusion).double().conv(
        torch.cat([x.mean(0), x.var(0, unbiased=False)], 1)).float()
    assert x.var(0, unbiased=False).min() > torch.finfo(torch.half).max
    close = partial(torch.testing.assert_close, rtol=1e-5, atol=0.1)
    close(fusion(features), expected)
    with torch.autocast('cpu', torch.bfloat16):
        close(fusion(features), expected)


def test_mean_var_fusion_of_one_is_that_one():
    """The mean is not halved by a modality that is absent."""
    backbone, wrapper = test_backbones.build(), neck(
        fusion=dict(type='mwam_mm.MeanVarFusion'))
    x = test_backbones.stack()
    x[:, 3] = 0
    for level, rgb, fusion in zip(
            wrapper(backbone(x)), backbone(x).features['rgb'],
            wrapper.fusions):
        stats = torch.cat([rgb, torch.zeros_like(rgb)], 1)
        assert torch.allclose(level, fusion.conv.conv(stats), atol=1e-6)


@pytest.mark.parametrize('fusion', (SumFusion, GatedFusion, MeanVarFusion))
def test_adding_fusions_need_equal_channels(fusion):
    with pytest.raises(ValueError, match='ConcatFusion'):
        fusion(dict(rgb=4, depth=8))


def test_wholly_absent_modality_is_zeros():
    backbone = test_backbones.build()
    x = test_backbones.stack()
    x[:, 3] = 0
    outputs = backbone(x)
    assert outputs.features['depth'] is None
    for a, b in zip(neck()(outputs), outputs.features['rgb']):
        assert torch.equal(a, b)
    concat = neck(fusion=dict(type='mwam_mm.ConcatFusion'))
    for level, rgb, fusion in zip(
            concat(outputs), outputs.features['rgb'], concat.fusions):
        zeros = torch.zeros_like(rgb)
        assert torch.equal(level, fusion(dict(rgb=rgb, depth=zeros)))


def test_absent_where_evaluation_has_fewer_levels():
    wrapper = neck(
        eval_levels=[1], fusion=dict(type='mwam_mm.ConcatFusion')).eval()
    rgb = torch.randn(2, 8, 3, 5)
    outputs = BranchOutputs(
        dict(rgb=(rgb, ), depth=None),
        dict(rgb=torch.ones(2, 3, 9, 9), depth=torch.zeros(2, 1, 9, 9)),
        dict(rgb=[True, True], depth=[False, False]))
    level, = wrapper(outputs)
    assert torch.equal(level, wrapper.fusions[1](
        dict(rgb=rgb, depth=torch.zeros_like(rgb))))


def test_wrapped_neck_gets_the_fused_levels():
    fpn = dict(
        type='mmseg.FPN', in_channels=[4, 8], out_channels=6, num_outs=2)
    wrapper = neck(neck=fpn)
    outputs = test_backbones.build()(test_backbones.stack())
    fused = [a + b for a, b in zip(*outputs.features.values())]
    for a, b in zip(wrapper(outputs), wrapper.neck(fused)):
        assert a.shape[1] == 6 and torch.equal(a, b)


def test_number_of_fused_channels():
    fused = neck(
        fusion=dict(type='mwam_mm.ConcatFusion'), out_channels=[6, 4]).fusions
    assert [f.out_channels for f in fused] == [6, 4]
    with pytest.raises(ValueError, match='out_channels.*each of 2 levels'):
        neck(out_channels=[4])


def test_branches_of_different_strides_and_widths():
    """A ViT keeps one stride where a CNN has a pyramid."""
    with DefaultScope.overwrite_default_scope('mmseg'):
        backbone = MultiModalBackbone(
            MODALITIES,
            test_backbones.RESNET,
            branches=dict(
                depth=dict(
                    type='VisionTransformer',
                    img_size=(64, 48),
                    patch_size=16,
                    embed_dims=8,
                    num_layers=4,
                    num_heads=1,
                    out_indices=(0, 1, 2, 3)))).eval()
    in_channels = dict(rgb=[4, 8, 16, 32], depth=[8] * 4)
    fusion = dict(type='mwam_mm.ConcatFusion')
    wrapper = MWAMNeck(
        MODALITIES, in_channels, strides=[4, 8, 16, 32], fusion=fusion)
    x = torch.randn(2, 4, 64, 40)
    outputs = backbone(x)
    assert outputs.features['depth'][0].shape[2:] == (4, 3)
    for level, rgb, depth, fuse in zip(
            wrapper(outputs), *outputs.features.values(), wrapper.fusions):
        depth = torch.nn.functional.interpolate(
            depth, rgb.shape[2:], mode='bilinear')
        assert level.shape[1] == max(rgb.size(1), 8)
        assert torch.equal(level, fuse(dict(rgb=rgb, depth=depth)))
    # The same sizes when the branch that needs no resizing is missing.
    sizes = [level.shape for level in wrapper(outputs)]
    x[:, :3] = 0
    assert [level.shape for level in wrapper(backbone(x))] == sizes
    with pytest.raises(ValueError, match='MWAMNeck.strides'):
        MWAMNeck(MODALITIES, in_channels, fusion=fusion)(outputs)
    with pytest.raises(ValueError, match=r'strides \[4\].*4 levels'):
        MWAMNeck(MODALITIES, in_channels, strides=[4], fusion=fusion)


def test_weights_scale_the_branches_only():
    def gradients(mwam):
        backbone = test_backbones.build()
        wrapper = neck(fusion=dict(type='mwam_mm.GatedFusion'), mwam=mwam)
        out = wrapper(backbone(test_backbones.stack()))
        sum(x.square().mean() for x in out).backward()
        return backbone, wrapper

    plain_backbone, plain_neck = gradients(None)
    backbone, wrapper = gradients(dict())
    k = MWAM(('rgb', 'depth')).update(
        dict(
            rgb=test_backbones.stack()[:, :3],
            depth=test_backbones.stack()[:, 3:]))
    assert torch.allclose(wrapper.mwam.weights, k, atol=1e-6)
    assert abs(k[0] - k[1]) > 1e-3
    for i, name in enumerate(('rgb', 'depth')):
        for p, q in zip(plain_backbone.branches[name].parameters(),
                        backbone.branches[name].parameters()):
            assert torch.allclose(q.grad, k[i] * p.grad, rtol=1e-4)
    for p, q in zip(plain_neck.parameters(), wrapper.parameters()):
        assert torch.equal(p.grad, q.grad)


def test_k_goes_by_name():
    order = dict(reversed(MODALITIES.items()))
    gradients = []
    for modalities in (MODALITIES, order):
        backbone = test_backbones.build()
        fuse = MWAMNeck(modalities, in_channels=[4, 8], mwam=dict()).train()
        sum(f.sum() for f in fuse(backbone(test_backbones.stack()))).backward()
        assert fuse.mwam.weights[0] != fuse.mwam.weights[1]
        gradients.append([p.grad for p in backbone.parameters()])
    for a, b in zip(*gradients):
        assert torch.equal(a, b)


def test_a_pass_without_gradient_does_not_count():
    """As the ones that measure the statistics of BatchNorm anew."""
    backbone = test_backbones.build()
    fuse = MWAMNeck(MODALITIES, in_channels=[4, 8], mwam=dict()).train()
    with torch.no_grad():
        fuse(backbone(test_backbones.stack()))
    assert fuse.mwam.frm.isnan().all()


def test_nothing_at_inference():
    plain, weighted = neck(), neck(mwam=dict())
    assert plain.state_dict().keys() == weighted.state_dict().keys()
    outputs = test_backbones.build().eval()(test_backbones.stack())
    for a, b in zip(plain.eval()(outputs), weighted.eval()(outputs)):
        assert torch.equal(a, b)
    assert weighted.mwam.weights.tolist() == [1., 1.]


def test_errors():
    outputs = test_backbones.build()(test_backbones.stack())
    with pytest.raises(TypeError, match='MultiModalBackbone'):
        neck()(outputs.features['rgb'])
    others = dict(rgb=MODALITIES['rgb'], thermal=MODALITIES['depth'])
    with pytest.raises(ValueError, match="'thermal'.*'depth'"):
        MWAMNeck(others, in_channels=[4, 8])(outputs)
    with pytest.raises(ValueError, match=r'"rgb".*\[4, 8\].*\[4, 16\]'):
        MWAMNeck(MODALITIES, in_channels=[4, 16])(outputs)
    with pytest.raises(ValueError, match='in_channels is for'):
        MWAMNeck(MODALITIES, in_channels=dict(rgb=[4]))
    with pytest.raises(ValueError, match='same number of levels'):
        MWAMNeck(MODALITIES, in_channels=dict(rgb=[4], depth=[4, 8]))
    backbone = MultiModalBackbone(
        MODALITIES, dict(type='mwam_mm.TwoLevels'))
    outputs = backbone(test_backbones.stack())
    outputs.features['depth'] = tuple(
        f[..., :1] for f in outputs.features['depth'])
    with pytest.raises(ValueError, match='same strides'):
        neck()(outputs)
    outputs.features['depth'] = tuple(
        f.flatten(2) for f in outputs.features['rgb'])
    with pytest.raises(ValueError, match=r'maps of shape.*"depth".*\(3, 4, '):
        neck()(outputs)
