"""One branch per modality on the stacked tensor."""
import pytest
import torch
from mmengine.registry import DefaultScope
from torch import nn

from mwam_mm.models import ESANetBackbone, MultiModalBackbone, MWAMNeck
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


def test_a_branch_that_differs_in_some_settings():
    resnet = dict(RESNET, init_cfg=dict(type='Pretrained', checkpoint='r'),
                  norm_cfg=dict(type='BN', requires_grad=False))
    backbone = build(
        resnet,
        branches=dict(
            depth=dict(
                base_channels=8,
                norm_cfg=dict(requires_grad=True),
                init_cfg=dict(type='Constant', val=0.5, layer='Conv2d'))))
    rgb, depth = backbone.branches.values()
    assert rgb.conv1.out_channels == depth.conv1.out_channels == 64
    assert rgb.layer1[0].conv1.out_channels == 4
    assert depth.layer1[0].conv1.out_channels == 8
    assert not rgb.bn1.weight.requires_grad and depth.bn1.weight.requires_grad
    assert rgb.init_cfg['checkpoint'] == 'r'
    depth.init_weights()
    assert (depth.conv1.weight == 0.5).all()


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
            session.select(names, x)
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


def test_encode_once_notices_other_images():
    """A model may look again where its first prediction tells."""
    backbone, x = build().eval(), stack()
    x[0, 0, 0, 0] = float('nan')
    parts = x[..., :8], x[..., 8:]
    plain = [backbone(part).features['depth'] for part in parts]
    for branch in backbone.branches.values():
        branch.batches.clear()
    with backbone.encode_once() as session:
        for names, second in ((('rgb', 'depth'), 0), (('rgb', ), 0),
                              (('depth', ), 1)):
            session.select(names, x)
            backbone(x)
            out = backbone(parts[second])
            if 'depth' in names:
                assert all(torch.equal(a, b) for a, b in zip(
                    out.features['depth'], plain[second]))
    assert backbone.branches['rgb'].batches == [3, 3]
    assert backbone.branches['depth'].batches == [3, 3, 3]


@pytest.mark.parametrize('cls', [MultiModalBackbone, ESANetBackbone])
def test_a_blank_window_in_evaluation(cls):
    """It is a part of an image, such as a hole of the depth map."""
    with DefaultScope.overwrite_default_scope('mmseg'):
        backbone = cls(MODALITIES, RESNET).eval()
    x = torch.randn(3, 4, 32, 32, generator=torch.manual_seed(0))
    x[1:, :3] = 0
    x[2, 3] = 0
    outputs, alone = backbone(x), backbone(x[2:])
    if cls is MultiModalBackbone:
        assert outputs.present == dict(
            rgb=[True, False, False], depth=[True, True, False])
        features, = (f for f in alone.features.values() if f is not None)
        assert not any(f.any() for f in features)
        neck = MWAMNeck(
            MODALITIES, [4, 8, 16, 32],
            fusion=dict(type='mwam_mm.MeanVarFusion')).eval()
        outputs, alone = neck(outputs), neck(alone)
    for a, b in zip(outputs, alone):
        torch.testing.assert_close(a[2:], b)


def test_errors():
    backbone, x = build(), stack()
    with pytest.raises(ValueError, match='5 channels'):
        backbone(torch.zeros(1, 5, 8, 8))
    x[2] = 0
    with pytest.raises(ValueError, match='sample 2.*none of the modalities'):
        backbone(x)
    with pytest.raises(ValueError, match='"rgb" has no branch'):
        MultiModalBackbone(MODALITIES)
    with pytest.raises(ValueError, match='"rgb" has no branch.*with a type'):
        MultiModalBackbone(MODALITIES, branches=dict(rgb=dict(depth=18)))
    with pytest.raises(ValueError, match='thermal'):
        build(branches=dict(thermal=RESNET))
    with pytest.raises(ValueError, match='"depth" has in_channels=3'):
        build(
            branches=dict(
                depth=dict(type='mwam_mm.TwoLevels', in_channels=3)))
    with backbone.encode_once() as session:
        with pytest.raises(ValueError, match='thermal'):
            session.select(('thermal', ), x)


def zoo_branch(config, **kwargs):
    """A backbone of the model zoo, for a modality of 1 channel."""
    with DefaultScope.overwrite_default_scope('mmseg'):
        return MultiModalBackbone(
            dict(depth=dict(channels=1)), config,
            **kwargs).eval().branches['depth']


NESTED = dict(
    type='ResNet',
    depth=18,
    in_channels=3,
    base_channels=4,
    stem_channels=4,
    norm_cfg=dict(type='BN'))
STDC = dict(
    type='STDCNet',
    stdc_type='STDCNet1',
    in_channels=3,
    channels=(4, 8, 16, 32, 64),
    bottleneck_type='cat',
    norm_cfg=dict(type='BN'),
    act_cfg=dict(type='ReLU'))


@pytest.mark.parametrize('config', [
    dict(type='MobileNetV2', widen_factor=0.1),
    dict(type='MobileNetV3', arch='small'),
    dict(type='SwinTransformer', embed_dims=8, depths=(1, 1, 1, 1),
         num_heads=(1, 1, 1, 1), in_channels=3),
    dict(type='BiSeNetV1', backbone_cfg=NESTED, in_channels=3,
         spatial_channels=(4, 4, 4, 8), context_channels=(8, 16, 32),
         out_channels=16),
    dict(type='BiSeNetV1', spatial_channels=(4, 4, 4, 8),
         backbone_cfg=dict(type='MobileNetV2', widen_factor=0.1,
                           out_indices=(1, 2, 4, 6)),
         context_channels=(8, 16, 32), out_channels=16),
    dict(type='ICNet', backbone_cfg=dict(NESTED, type='ResNetV1c'),
         layer_channels=(8, 32), light_branch_middle_channels=4,
         psp_out_channels=8, out_channels=(4, 8, 8)),
    dict(type='STDCContextPathNet', backbone_cfg=STDC,
         last_in_channels=(64, 32), out_channels=8,
         ffm_cfg=dict(in_channels=24, out_channels=16, scale_factor=4)),
], ids=lambda c: c['type'])
def test_any_backbone_takes_one_channel(config):
    """Given as the zoo has them, made for 3 channels."""
    before = str(config)
    branch = zoo_branch(config)
    assert str(config) == before
    reads_image = [
        m for m in branch.modules()
        if isinstance(m, nn.Conv2d) and m.groups == 1 and m.in_channels == 3
    ]
    assert not reads_image
    if config['type'] != 'BiSeNetV1' or config['backbone_cfg'] is NESTED:
        with torch.no_grad():
            branch(torch.randn(1, 1, 64, 64))


def test_a_backbone_without_a_fitting_convolution_is_refused():
    with pytest.raises(ValueError, match='TwoChannels.*"depth" has 1'):
        build(dict(type='mwam_mm.TwoChannels'))


def test_a_backbone_that_is_unknown_is_named():
    with pytest.raises(KeyError, match='ResNet17 is not in'):
        build(dict(type='ResNet17'))


@MODELS.register_module()
class TwoChannels(nn.Conv2d):

    def __init__(self):
        super().__init__(2, 4, 3)


def test_initialisation_reaches_the_branches():
    config = dict(
        RESNET, init_cfg=dict(type='Constant', layer='Conv2d', val=0.25))
    with DefaultScope.overwrite_default_scope('mmseg'):
        backbone = build(config)
    backbone.init_weights()
    for branch in backbone.branches.values():
        assert (branch.conv1.weight == 0.25).all()


def pretrained(config, path, **kwargs):
    """Initialise an RGB and a depth branch with weights from a file."""
    init_cfg = dict(type='Pretrained', checkpoint=str(path))
    with DefaultScope.overwrite_default_scope('mmseg'):
        backbone = build(dict(config, init_cfg=init_cfg), **kwargs)
    backbone.init_weights()
    return backbone.eval()


def imagenet(config, path, change=lambda weights: weights):
    """Write the weights of a 3-channel classifier; return its backbone."""
    torch.manual_seed(3)
    with DefaultScope.overwrite_default_scope('mmseg'):
        backbone = MODELS.build(config)
    weights = backbone.state_dict()
    weights['head.fc.weight'] = torch.randn(10, 8)
    torch.save(dict(state_dict=change(weights)), path)
    backbone.eval()
    return backbone


MIT = dict(
    type='mmseg.MixVisionTransformer', embed_dims=4,
    num_layers=(1, 1, 1, 1), num_heads=(1, 1, 1, 1))
SWIN = dict(
    type='mmseg.SwinTransformer', embed_dims=8, depths=(1, 1, 1, 1),
    num_heads=(1, 1, 1, 1))


@pytest.mark.parametrize(
    'config', [RESNET, MIT, SWIN, dict(type='mmseg.MobileNetV2')],
    ids=lambda c: c['type'])
def test_pretrained_weights_see_grey_images_alike(config, tmp_path):
    path = tmp_path / 'imagenet.pth'
    original = imagenet(config, path)
    backbone = pretrained(config, path)
    grey = torch.randn(1, 1, 64, 64)
    rgb, depth = (backbone.branches[n] for n in ('rgb', 'depth'))
    with torch.no_grad():
        for a, b, c in zip(original(grey.expand(-1, 3, -1, -1)),
                           rgb(grey.expand(-1, 3, -1, -1)), depth(grey)):
            assert torch.equal(a, b)
            assert torch.allclose(a, c, atol=1e-4)


def test_pretrained_first_convolution_for_more_channels(tmp_path):
    path = tmp_path / 'imagenet.pth'
    original = imagenet(RESNET, path)
    init_cfg = dict(type='Pretrained', checkpoint=str(path))
    backbone = MultiModalBackbone(
        dict(pair=dict(channels=6)), dict(RESNET, init_cfg=init_cfg))
    backbone.init_weights()
    weight = backbone.branches['pair'].conv1.weight
    assert weight.shape[1] == 6
    expected = original.conv1.weight.mean(1) / 2
    for channel in weight.unbind(1):
        assert torch.allclose(channel, expected, atol=1e-6)


def test_pretrained_on_a_part_of_a_branch(tmp_path):
    path = tmp_path / 'imagenet.pth'
    original = imagenet(dict(NESTED, type='mmseg.ResNet'), path)
    init_cfg = dict(type='Pretrained', checkpoint=str(path))
    config = dict(
        type='mmseg.BiSeNetV1', backbone_cfg=dict(NESTED, init_cfg=init_cfg),
        spatial_channels=(4, 4, 4, 8), context_channels=(8, 16, 32),
        out_channels=16)
    with DefaultScope.overwrite_default_scope('mmseg'):
        backbone = build(config)
    backbone.init_weights()
    for name, channels in (('rgb', 3), ('depth', 1)):
        inner = backbone.branches[name].context_path.backbone
        assert inner.conv1.in_channels == channels
        assert torch.allclose(
            inner.conv1.weight.sum(1), original.conv1.weight.sum(1),
            atol=1e-6)


def test_a_checkpoint_of_the_model_itself_is_not_adapted():
    with DefaultScope.overwrite_default_scope('mmseg'):
        backbone = build(RESNET)
    backbone.init_weights()
    state = backbone.state_dict()
    state['branches.depth.conv1.weight'] = torch.zeros(64, 3, 7, 7)
    with pytest.raises(RuntimeError, match='depth.conv1'):
        backbone.load_state_dict(state)


def rename(weights):
    return {'model.' + k: v for k, v in weights.items()}


def lose(key):

    def change(weights):
        return {k: v for k, v in weights.items() if not k.startswith(key)}

    return change


@pytest.mark.parametrize('change, message', [
    (rename, r'Missing: conv1\.weight.*Unexpected: model\.conv1\.weight'),
    (lose('layer4.0.bn1'), r'Missing: layer4\.0\.bn1\.weight'),
    (lambda w: dict(w, **{'layer1.0.conv1.weight': torch.zeros(2, 4, 3, 3)}),
     r'Of another shape: layer1\.0\.conv1\.weight \(2, 4, 3, 3\) for '),
    (lambda w: dict(w, **{'conv1.weight': torch.zeros(64, 5, 7, 7)}),
     r'Of another shape: conv1\.weight \(64, 5, 7, 7\) for '),
])
def test_a_pretrained_file_that_does_not_fit(change, message, tmp_path):
    path = tmp_path / 'wrong.pth'
    imagenet(RESNET, path, change)
    with pytest.raises(
            ValueError, match=rf'(?s)"rgb".*wrong\.pth.*ResNet.*{message}'):
        pretrained(RESNET, path)
    if change is rename:
        with pytest.raises(ValueError, match='Missing'):
            pretrained(RESNET, path, strict=False)
        config = dict(RESNET, init_cfg=dict(
            type='Pretrained', checkpoint=str(path), prefix='model.'))
        backbone = build(config)
        backbone.init_weights()
    else:
        pretrained(RESNET, path, strict=False)


def test_pretrained_that_cannot_be_loaded(tmp_path):
    init_cfg = dict(type='Pretrained', checkpoint='there_is_none.pth')
    with pytest.raises(FileNotFoundError, match='there_is_none'):
        backbone = build(dict(RESNET, init_cfg=init_cfg))
        backbone.init_weights()
    backbone = build()
    backbone.branches['rgb'].init_cfg = init_cfg  # not a BaseModule
    with pytest.raises(ValueError, match='"rgb": there_is_none.*not loaded'):
        backbone.init_weights()


def test_norms_at_the_outputs_may_be_missing(tmp_path):
    """Swin's ImageNet files lack them."""
    path = tmp_path / 'imagenet.pth'
    original = imagenet(SWIN, path, lose('norm'))
    backbone = pretrained(SWIN, path)
    for name in ('rgb', 'depth'):
        table = 'relative_position_bias_table'
        assert torch.equal(
            getattr(backbone.branches[name].stages[0].blocks[0].attn.w_msa,
                    table),
            getattr(original.stages[0].blocks[0].attn.w_msa, table))


ESANET = dict(RESNET, stem_channels=4)


def esanet(**kwargs):
    torch.manual_seed(0)
    return ESANetBackbone(MODALITIES, dict(ESANET, **kwargs))


def test_esanet_by_hand():
    backbone, x = esanet().eval(), torch.randn(2, 4, 64, 64)
    rgb, depth = backbone.branches['rgb'], backbone.branches['depth']

    def gated(i, a, b):
        gates = backbone.fusions[i].gates
        return gates['rgb'](a) * a + gates['depth'](b) * b

    with torch.no_grad():
        a = rgb.bn1(rgb.conv1(x[:, :3])).relu()
        b = depth.bn1(depth.conv1(x[:, 3:])).relu()
        a, b = rgb.maxpool(gated(0, a, b)), depth.maxpool(b)
        for i, out in enumerate(backbone(x)):
            b = getattr(depth, f'layer{i + 1}')(b)
            a = gated(i + 1, getattr(rgb, f'layer{i + 1}')(a), b)
            assert out.shape[1] == 4 * 2**i
            assert torch.allclose(a, out, atol=1e-6)


@pytest.mark.parametrize('deep_stem', [False, True])
def test_esanet_without_a_modality(deep_stem):
    backbone, x = esanet(deep_stem=deep_stem).eval(), torch.randn(3, 4, 64, 64)
    x[0, 3] = x[1, :3] = 0
    with torch.no_grad():
        together = backbone(x)
        for i in range(3):
            alone = backbone(x[i:i + 1])
            for a, b in zip(together, alone):
                assert torch.allclose(a[i:i + 1], b, atol=1e-5)
        # What is absent has no say: other weights of its own change nothing.
        for p in backbone.branches['depth'].parameters():
            p += 1
        stem = backbone.branches['rgb']
        stem = stem.stem[0] if deep_stem else stem.conv1
        before = [f.clone() for f in backbone(x)]
        stem.weight += 1
        after = backbone(x)
    for a, b, c in zip(together, before, after):
        assert torch.equal(a[0], b[0]) and not torch.equal(a[1], b[1])
        assert torch.equal(b[1], c[1]) and not torch.equal(b[0], c[0])


def test_esanet_norms_never_see_blank_images():
    x = torch.randn(4, 4, 64, 64)
    x[2:, 3] = x[:1, :3] = 0
    backbone, reference = esanet().train(), esanet().train()
    backbone(x)
    reference.branches['depth'](x[:2, 3:])
    reference.branches['rgb'].bn1(reference.branches['rgb'].conv1(x[1:, :3]))
    for name in ('bn1', 'layer4.0.bn1'):
        assert torch.equal(*(b.branches['depth'].get_submodule(
            name).running_mean for b in (backbone, reference)))
    assert torch.equal(*(b.branches['rgb'].bn1.running_mean
                         for b in (backbone, reference)))


@pytest.mark.parametrize('absent', [slice(0, 3), slice(3, 4)])
def test_esanet_every_parameter_gets_a_gradient(absent):
    backbone, x = esanet().train(), torch.randn(2, 4, 64, 64)
    x[:, absent] = 0
    sum(f.square().sum() for f in backbone(x)).backward()
    assert all(p.grad is not None for p in backbone.parameters())


def test_esanet_three_streams_and_order():
    layout = dict(
        thermal=dict(channels=1), rgb=dict(channels=3), depth=dict(channels=1))
    one = ESANetBackbone(layout, ESANET).eval()
    other = ESANetBackbone(dict(sorted(layout.items())), ESANET).eval()
    other.load_state_dict(one.state_dict())
    x = torch.randn(1, 5, 64, 64)
    with torch.no_grad():
        for a, b in zip(one(x), other(x)):
            assert torch.equal(a, b)


def test_esanet_errors():
    with pytest.raises(ValueError, match=r"ESANetBackbone.main.*\['night'\]"):
        ESANetBackbone(MODALITIES, ESANET, main='night')
    with pytest.raises(TypeError, match='"rgb".*TwoLevels.*ResNet'):
        ESANetBackbone(MODALITIES, dict(type='mwam_mm.TwoLevels'))
    with pytest.raises(ValueError, match=r'as many stages.*\[3, 4\]'):
        ESANetBackbone(MODALITIES, ESANET, branches=dict(depth=dict(
            ESANET, num_stages=3, strides=(1, 2, 2), dilations=(1, 1, 1),
            out_indices=(0, 1, 2))))
    with pytest.raises(ValueError, match='none of the modalities'):
        esanet()(torch.zeros(1, 4, 64, 64))


@MODELS.register_module()
class Pooled(nn.Module):
    """A map, and a BatchNorm on features pooled to one pixel."""

    def __init__(self, in_channels=3):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 4, 3, padding=1)
        self.norm1 = nn.BatchNorm2d(4)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.norm2 = nn.BatchNorm2d(4)

    def forward(self, x):
        x = self.norm1(self.conv1(x))
        return x, self.norm2(self.pool(x))


def test_a_single_sample_of_a_modality_that_is_pooled_to_a_pixel():
    """BatchNorm normalises it by its running statistics."""
    backbone = build(dict(type='mwam_mm.Pooled'))
    branch = backbone.branches['depth']
    branch.norm2.running_mean.fill_(0.5)
    x = stack()
    x[1:, 3] = 0
    features = backbone(x).features['depth']
    pooled = features[0].detach().mean((2, 3), keepdim=True)
    eps = branch.norm2.eps
    torch.testing.assert_close(features[1][:1].detach(),
                               (pooled[:1] - 0.5) / (1 + eps)**0.5)
    features[1].sum().backward()
    assert branch.conv1.weight.grad.abs().sum() > 0
    assert (branch.norm2.running_mean == 0.5).all()
    assert branch.norm1.running_mean.abs().sum() > 0
    assert all(m.training for m in backbone.modules())
    backbone(stack())
    assert (branch.norm2.running_mean != 0.5).all()


def test_a_batch_of_one_fails_as_without_modalities():
    with pytest.raises(ValueError, match='more than 1 value per channel'):
        build(dict(type='mwam_mm.Pooled'))(stack(1))
