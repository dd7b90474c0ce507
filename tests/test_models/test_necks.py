"""Fusions and the neck wrapper."""
import pytest
import torch

from mwam_mm.models import (
    ConcatFusion,
    GatedFusion,
    MultiModalBackbone,
    MWAMNeck,
    SumFusion,
)
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


@pytest.mark.parametrize('fusion', (SumFusion, ConcatFusion, GatedFusion))
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


@pytest.mark.parametrize('fusion', (SumFusion, GatedFusion))
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


def test_wrapped_neck_gets_the_fused_levels():
    fpn = dict(
        type='mmseg.FPN', in_channels=[4, 8], out_channels=6, num_outs=2)
    wrapper = neck(neck=fpn)
    outputs = test_backbones.build()(test_backbones.stack())
    fused = [a + b for a, b in zip(*outputs.features.values())]
    for a, b in zip(wrapper(outputs), wrapper.neck(fused)):
        assert a.shape[1] == 6 and torch.equal(a, b)


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
