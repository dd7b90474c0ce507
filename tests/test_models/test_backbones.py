"""One branch per modality on the stacked tensor."""
import pytest
import torch
from mmengine.registry import DefaultScope
from torch import nn

from mwam_mm.models import MultiModalBackbone
from mwam_mm.registry import MODELS

MODALITIES = dict(rgb=dict(channels=3), depth=dict(channels=1))
RESNET = dict(
    type='mmseg.ResNet', depth=18, base_channels=4, norm_cfg=dict(type='BN'))


@MODELS.register_module()
class TwoLevels(nn.Module):
    """Two convolutions, counting its calls."""

    def __init__(self, in_channels=3, width=4):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 3, 2, 1)
        self.conv2 = nn.Conv2d(width, 2 * width, 3, 2, 1)
        self.batches = []

    def forward(self, x):
        self.batches.append(len(x))
        x = self.conv1(x)
        return x, self.conv2(x.relu())


def build(branch=None, **kwargs):
    torch.manual_seed(0)
    return MultiModalBackbone(
        MODALITIES, branch or dict(type='mwam_mm.TwoLevels'), **kwargs)


def stack(size=3):
    torch.manual_seed(1)
    return torch.randn(size, 4, 16, 16)


def test_each_branch_sees_its_channels():
    backbone, x = build(), stack()
    out = backbone(x)
    for name, part in (('rgb', x[:, :3]), ('depth', x[:, 3:])):
        assert torch.equal(out.inputs[name], part)
        assert out.present[name] == [True] * 3
        for a, b in zip(out.features[name], backbone.branches[name](part)):
            assert torch.equal(a, b)


def test_branches_of_a_registry_and_of_different_width():
    with DefaultScope.overwrite_default_scope('mmseg'):
        backbone = build(
            RESNET, branches=dict(depth=dict(RESNET, base_channels=8)))
    assert backbone.branches['depth'].conv1.in_channels == 1
    features = backbone(torch.randn(2, 4, 64, 64)).features
    assert [f.shape[1] for f in features['rgb']] == [4, 8, 16, 32]
    assert [f.shape[1] for f in features['depth']] == [8, 16, 32, 64]


def test_absent_samples_give_zeros_and_do_not_run():
    backbone, x = build(), stack()
    x[1, 3] = 0
    out = backbone(x)
    assert out.present == dict(rgb=[True] * 3, depth=[True, False, True])
    assert backbone.branches['depth'].batches == [2]
    expected = backbone.branches['depth'](x[[0, 2], 3:])
    for f, e in zip(out.features['depth'], expected):
        assert (f[1] == 0).all()
        assert torch.equal(f[[0, 2]], e)
    x[:, 3] = 0
    backbone.branches['depth'].batches.clear()
    assert backbone(x).features['depth'] is None
    assert backbone.branches['depth'].batches == []


def test_batch_norm_never_sees_blank_images():
    with DefaultScope.overwrite_default_scope('mmseg'):
        backbone, reference = build(RESNET), build(RESNET)
    x = torch.randn(4, 4, 64, 64)
    x[2:, 3] = 0
    backbone.train()(x)
    reference.train().branches['depth'](x[:2, 3:])
    assert torch.equal(backbone.branches['depth'].bn1.running_mean,
                       reference.branches['depth'].bn1.running_mean)


def test_idle_branch_gets_a_zero_gradient_in_training():
    backbone, x = build(), stack()
    x[:, :3] = 0
    out = backbone.train()(x)
    sum(f.square().sum() for f in out.features['depth']).backward()
    for p in backbone.branches['rgb'].parameters():
        assert p.grad is not None and (p.grad == 0).all()
    assert all((p.grad != 0).any()
               for p in backbone.branches['depth'].parameters())


def test_encode_once_shares_the_branches():
    backbone, x = build().eval(), stack()
    plain = backbone(x).features
    for branch in backbone.branches.values():
        branch.batches.clear()
    with backbone.encode_once() as session:
        for names in (('rgb', 'depth'), ('rgb', ), ('depth', )):
            session.select(names)
            for part in (x, x.flip(3)):  # two calls, as in slide inference
                out = backbone(part)
                for name in MODALITIES:
                    assert out.present[name] == [name in names] * 3
                    if name not in names:
                        assert out.features[name] is None
                    elif part is x:
                        assert all(
                            torch.equal(a, b) for a, b in zip(
                                out.features[name], plain[name]))
    for branch in backbone.branches.values():
        assert branch.batches == [3, 3]
    assert backbone(x).features['depth'] is not None


def test_errors():
    backbone, x = build(), stack()
    with pytest.raises(ValueError, match='5 channels'):
        backbone(torch.zeros(1, 5, 8, 8))
    x[2] = 0
    with pytest.raises(ValueError, match='sample 2.*none of the modalities'):
        backbone(x)
    with pytest.raises(ValueError, match='"rgb" has no branch'):
        MultiModalBackbone(MODALITIES)
    with pytest.raises(ValueError, match='thermal'):
        build(branches=dict(thermal=RESNET))
    with pytest.raises(ValueError, match='"depth" has in_channels=3'):
        build(
            branches=dict(
                depth=dict(type='mwam_mm.TwoLevels', in_channels=3)))
    with backbone.encode_once() as session:
        with pytest.raises(ValueError, match='thermal'):
            session.select(('thermal', ))
