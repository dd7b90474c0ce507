"""The builder that makes a stock config multimodal."""
import copy

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.model import BaseModule
from mmengine.registry import init_default_scope
from torch import nn

from mwam_mm.convert import notice
from mwam_mm.convert.heads import set_num_classes
from mwam_mm.models import MultiModalBackbone, MWAMNeck
from mwam_mm.registry import MODELS

MODALITIES = dict(
    rgb=dict(channels=3, mean=128., std=64., bgr_to_rgb=True),
    depth=dict(channels=1, mean=3., std=2.))
RGB = dict(rgb=MODALITIES['rgb'])


@pytest.fixture(autouse=True)
def _scope():
    init_default_scope('mmseg')


@MODELS.register_module()
class TokenBackbone(BaseModule):
    """Gives pairs of a map and a token, like a ViT with its class token."""

    def __init__(self, in_channels=3, shape='tokens'):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, 6, 3, 2, 1)
        self.shape = shape

    def forward(self, x):
        x = self.conv(x)
        if self.shape == 'sequence':
            return x.flatten(2).transpose(1, 2)
        return tuple([x * i, x.mean((2, 3)) * i] for i in (1, 2))


@MODELS.register_module()
class TokenHead(BaseModule):
    """Uses the tokens as :class:`DPTHead` does."""
    align_corners = False
    out_channels = 2

    def __init__(self, num_classes):
        super().__init__()
        self.num_classes = num_classes
        self.conv = nn.Conv2d(6, num_classes, 1)

    def forward(self, inputs):
        assert type(inputs) is tuple
        for pair in inputs:
            assert type(pair) is list
        return sum(
            self.conv(x * token[:, :, None, None]) for x, token in inputs)


def resnet(**kwargs):
    return dict(
        type='ResNet',
        depth=18,
        base_channels=4,
        stem_channels=4,
        norm_cfg=dict(type='SyncBN'),
        **kwargs)


def fcn(in_channels, in_index=-1, **kwargs):
    return dict(
        type='FCNHead',
        in_channels=in_channels,
        in_index=in_index,
        channels=4,
        num_convs=1,
        num_classes=19,
        norm_cfg=dict(type='SyncBN'),
        align_corners=False,
        **kwargs)


def segmentor(**kwargs):
    return dict(
        dict(
            type='EncoderDecoder',
            data_preprocessor=dict(
                type='SegDataPreProcessor',
                mean=[1., 2., 3.],
                std=[1., 1., 1.],
                bgr_to_rgb=True,
                pad_val=0,
                seg_pad_val=7,
                size=(32, 48),
                test_cfg=dict(size_divisor=16)),
            backbone=resnet(),
            decode_head=fcn(32, dropout_ratio=0),
            auxiliary_head=[fcn(16, 2)],
            train_cfg=dict(),
            test_cfg=dict(mode='whole')), **kwargs)


DDRNET = segmentor(
    backbone=dict(
        type='DDRNet', channels=4, ppm_channels=4, norm_cfg=dict(type='BN')),
    decode_head=dict(
        type='DDRHead',
        in_channels=16,
        channels=8,
        num_classes=19,
        norm_cfg=dict(type='BN'),
        align_corners=False,
        loss_decode=[dict(type='CrossEntropyLoss')] * 2),
    auxiliary_head=None)
FPN = segmentor(
    neck=dict(
        type='FPN', in_channels=[4, 8, 16, 32], out_channels=6, num_outs=4),
    decode_head=fcn(6, 0),
    auxiliary_head=None)
TOKENS = segmentor(
    backbone=dict(type='mwam_mm.TokenBackbone'),
    decode_head=dict(type='mwam_mm.TokenHead', num_classes=19),
    auxiliary_head=None)


def build(base=None, modalities=MODALITIES, **kwargs):
    return MODELS.build(
        dict(
            type='mwam_mm.multimodal',
            base=ConfigDict(base or segmentor()),
            modalities=modalities,
            **kwargs))


@pytest.mark.parametrize('base', [segmentor(), DDRNET, FPN, TOKENS])
def test_one_modality_is_the_stock_model(base):
    """The same weights give the same logits."""
    stock = MODELS.build(ConfigDict(copy.deepcopy(base))).eval()
    model = build(base, RGB).eval()
    assert type(model) is type(stock)
    state = {
        key.replace('backbone.', 'backbone.branches.rgb.', 1)
        if key.startswith('backbone.') else
        key.replace('neck.', 'neck.neck.', 1): value
        for key, value in stock.state_dict().items()
    }
    model.load_state_dict(state)
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.allclose(model(x), stock(x), atol=1e-6)


def test_modalities_are_fused_level_by_level():
    model = build(num_classes=5).eval()
    x = torch.randn(2, 4, 32, 32)
    with torch.no_grad():
        rgb = model.backbone.branches['rgb'](x[:, :3])
        depth = model.backbone.branches['depth'](x[:, 3:])
        expected = model.decode_head([a + b for a, b in zip(rgb, depth)])
        logits = model(x)
    assert logits.shape[1] == 5
    assert torch.allclose(logits, expected, atol=1e-6)


def test_probe_leaves_no_trace():
    """The same seed gives what the config written out gives."""
    torch.manual_seed(0)
    model = build()
    torch.manual_seed(0)
    explicit = MODELS.build(
        ConfigDict(
            segmentor(
                data_preprocessor=None,
                backbone=dict(
                    type='mwam_mm.MultiModalBackbone',
                    modalities=MODALITIES,
                    branch=resnet()),
                neck=dict(
                    type='mwam_mm.MWAMNeck',
                    modalities=MODALITIES,
                    in_channels=[4, 8, 16, 32]))))
    state = explicit.state_dict()
    assert model.state_dict().keys() == state.keys()
    for key, value in model.state_dict().items():
        assert torch.equal(value, state[key])
    assert int(model.backbone.branches['rgb'].bn1.num_batches_tracked) == 0


def test_parts():
    model = build(
        FPN, fusion=dict(type='mwam_mm.GatedFusion'), mwam=dict(momentum=0.9))
    assert isinstance(model.backbone, MultiModalBackbone)
    assert isinstance(model.neck, MWAMNeck)
    assert type(model.neck.fusions[0]).__name__ == 'GatedFusion'
    assert type(model.neck.neck).__name__ == 'FPN'
    assert model.neck.mwam.bank.momentum == 0.9
    assert build().neck.mwam is None


def test_fewer_levels_in_evaluation():
    fusion = dict(type='mwam_mm.ConcatFusion')
    model = build(DDRNET, fusion=fusion, mwam=dict())
    assert model.neck.eval_levels == [1]
    x = torch.randn(2, 4, 64, 64)
    both = model.neck(model.backbone(x))
    assert [f.shape[1] for f in both] == [8, 16]
    model.eval()
    final = model.neck(model.backbone(x))
    branches = model.backbone.branches
    parts = dict(rgb=branches['rgb'](x[:, :3]),
                 depth=branches['depth'](x[:, 3:]))
    assert torch.equal(final, model.neck.fusions[1](parts))


def test_tokens_are_fused_as_vectors():
    model = build(TOKENS, fusion=dict(type='mwam_mm.ConcatFusion')).eval()
    outputs = model.backbone(torch.randn(2, 4, 8, 8))
    (_, token), (_, _) = model.neck(outputs)
    weight = model.neck.fusions[1].conv.conv.weight[:, :, 0, 0]
    bias = model.neck.fusions[1].conv.conv.bias
    joined = torch.cat(
        [outputs.features['depth'][0][1], outputs.features['rgb'][0][1]], 1)
    assert torch.allclose(token, joined @ weight.T + bias, atol=1e-6)


def test_classes_are_the_datasets():
    stdc = fcn(16, 2)
    stdc.update(num_classes=2)
    base = segmentor(
        decode_head=fcn(
            32,
            ignore_index=0,
            loss_decode=[
                dict(type='CrossEntropyLoss', class_weight=[2.] * 19),
                dict(
                    type='CrossEntropyLoss',
                    loss_name='loss_query',
                    class_weight=[1.] * 19 + [.1]),
            ]),
        auxiliary_head=[fcn(16, 2), stdc])
    model = build(base, num_classes=3)
    head = model.decode_head
    assert head.num_classes == head.conv_seg.out_channels == 3
    assert head.ignore_index == 255
    assert head.loss_decode[0].class_weight is None
    assert head.loss_decode[1].class_weight == [1., 1., 1., .1]
    assert [h.num_classes for h in model.auxiliary_head] == [3, 2]
    untouched = build(base).decode_head
    assert untouched.num_classes == 19 and untouched.ignore_index == 0


def test_the_boundary_of_stdc_is_no_class_of_the_dataset():
    base = ConfigDict(
        decode_head=dict(type='FCNHead', num_classes=2),
        auxiliary_head=[dict(type='FCNHead', num_classes=2),
                        dict(type='STDCHead', num_classes=2)])
    set_num_classes(base, 5)
    assert base.decode_head.num_classes == 5
    assert [h.num_classes for h in base.auxiliary_head] == [5, 2]


@pytest.mark.parametrize('ignored, padded, num_classes, kept', [
    (0, 0, 3, 255), (0, 0, None, 0), (0, 7, 3, 7), (255, 255, 3, 255)])
def test_padding_stays_ignored(ignored, padded, num_classes, kept):
    """Else it would be of the class whose label the base ignores."""
    base = segmentor(decode_head=fcn(32, ignore_index=ignored))
    base['data_preprocessor']['seg_pad_val'] = padded
    model = build(base, num_classes=num_classes)
    assert model.data_preprocessor.seg_pad_val == kept


def test_binary_head_with_one_output():
    head = dict(
        fcn(32, out_channels=1, threshold=0.3),
        num_classes=2,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=True))
    base = segmentor(decode_head=head, auxiliary_head=None)
    assert build(base, num_classes=2).decode_head.out_channels == 1
    assert build(base, num_classes=4).decode_head.out_channels == 4


def test_preprocessor_keeps_the_padding():
    preprocessor = build().data_preprocessor
    assert list(preprocessor.layout) == ['rgb', 'depth']
    assert preprocessor.size == (32, 48)
    assert preprocessor.seg_pad_val == 7
    assert preprocessor.test_cfg == dict(size_divisor=16)
    # What MMEngine's runner passes beside a model that names none.
    base = segmentor()
    stock = base.pop('data_preprocessor')
    assert build(base, data_preprocessor=stock).data_preprocessor.size == (
        32, 48)


def test_syncbn_becomes_bn_without_distributed_run():
    model = build()
    assert not any(
        isinstance(m, nn.SyncBatchNorm) for m in model.modules())
    model(torch.randn(2, 4, 32, 32))  # on the CPU


def test_override():
    model = build(
        num_classes=5,
        override={
            'decode_head.num_classes': 6,
            'backbone.base_channels': 8,
            'decode_head.in_channels': 64,
            'auxiliary_head': None
        })
    assert model.decode_head.num_classes == 6
    assert not model.with_auxiliary_head
    assert model.neck.in_channels[-1] == dict(rgb=64, depth=64)


@pytest.mark.parametrize('base', [
    segmentor(pretrained='open-mmlab://resnet18_v1c'),
    segmentor(
        backbone=resnet(
            init_cfg=dict(
                type='Pretrained', checkpoint='https://host/resnet.pth')))
])
def test_nothing_is_downloaded(base, monkeypatch):
    said = []
    monkeypatch.setattr(notice, 'print_log',
                        lambda message, **kwargs: said.append(message))
    model = build(base)
    assert 'resnet' in said[0] and 'left out' in said[0]
    model.init_weights()
    assert model.backbone.branches['rgb'].conv1.weight.std() > 0


@pytest.mark.parametrize('top', [True, False])
def test_local_weights_go_into_each_branch(top, tmp_path):
    path = str(tmp_path / 'resnet.pth')
    stock = MODELS.build(resnet())
    torch.save(stock.state_dict(), path)
    model = build(
        segmentor(pretrained=path) if top else segmentor(
            backbone=resnet(
                init_cfg=dict(type='Pretrained', checkpoint=path))))
    model.init_weights()
    weight = stock.state_dict()['layer1.0.conv1.weight']
    for branch in model.backbone.branches.values():
        assert torch.equal(branch.layer1[0].conv1.weight, weight)


@pytest.mark.parametrize('rgb, said', [
    (dict(mean=[103.5, 116.3, 123.7], std=1.), 0),
    (dict(mean=[104., 117., 124.], std=1.2), 0),
    (dict(mean=[123.7, 116.3, 103.5], std=1., bgr_to_rgb=True), 1),
    (dict(mean=[103.5, 116.3, 123.7], std=57.), 1),
])
def test_local_weights_are_for_other_images(rgb, said, tmp_path, monkeypatch):
    """Caffe's, say, are for BGR that is not divided by a deviation."""
    path = str(tmp_path / 'resnet.pth')
    torch.save(MODELS.build(resnet()).state_dict(), path)
    base = segmentor(
        pretrained=path,
        data_preprocessor=dict(
            type='SegDataPreProcessor', mean=[103.53, 116.28, 123.675],
            std=[1., 1., 1.], bgr_to_rgb=False))
    notices = []
    monkeypatch.setattr('mwam_mm.convert.pretrained.notice', notices.append)
    modalities = dict(MODALITIES, rgb=dict(rgb, channels=3))
    build(base, modalities)
    assert len(notices) == said
    assert all('give it the same' in notice for notice in notices)
    base.pop('pretrained')
    build(base, modalities)
    build(base, dict(depth=MODALITIES['depth']))
    assert len(notices) == said


def test_missing_local_weights():
    base = segmentor(
        backbone=resnet(
            init_cfg=dict(type='Pretrained', checkpoint='nowhere/r.pth')))
    with pytest.raises(
            FileNotFoundError,
            match=r"nowhere/r.pth.*override=\{'backbone.init_cfg': None\}"):
        build(base)
    build(base, override={'backbone.init_cfg': None})


def trained(branch):
    """Whether the parameters of stem, first and second stage are."""
    return [
        all(p.requires_grad for p in part.parameters())
        for part in (branch.conv1, branch.layer1, branch.layer2)
    ]


def test_one_branch_frozen_with_weights_of_its_own(tmp_path):
    path = str(tmp_path / 'resnet.pth')
    stock = MODELS.build(resnet())
    torch.save(stock.state_dict(), path)
    # The base freezes what is pretrained; here one branch only is.
    base = segmentor(backbone=resnet(frozen_stages=1))
    model = build(
        base,
        branches=dict(
            depth=dict(
                init_cfg=dict(type='Pretrained', checkpoint=path),
                frozen_stages=2)))
    model.init_weights()
    rgb, depth = model.backbone.branches.values()
    weight = stock.state_dict()['layer1.0.conv1.weight']
    assert torch.equal(depth.layer1[0].conv1.weight, weight)
    assert not torch.equal(rgb.layer1[0].conv1.weight, weight)
    assert trained(depth) == [False] * 3
    assert trained(rgb) == [True] * 3  # from scratch
    # The first stage, as the base says.
    inherited = build(
        base,
        branches=dict(
            depth=dict(init_cfg=dict(type='Pretrained', checkpoint=path))))
    assert trained(inherited.backbone.branches.depth) == [False, False, True]
    # It may be frozen without weights, if that is said.
    frozen = build(
        segmentor(), branches=dict(depth=dict(frozen_stages=0)))
    assert trained(frozen.backbone.branches.depth) == [False, True, True]


def test_one_branch_from_scratch(tmp_path):
    path = str(tmp_path / 'resnet.pth')
    torch.save(MODELS.build(resnet()).state_dict(), path)
    pretrained = dict(type='Pretrained', checkpoint=path)
    for base in (segmentor(backbone=resnet(init_cfg=pretrained)),
                 segmentor(pretrained=path)):
        model = build(base, branches=dict(depth=dict(init_cfg=None)))
        model.init_weights()
        rgb, depth = (b.layer1[0].conv1.weight
                      for b in model.backbone.branches.values())
        weight = torch.load(path)['layer1.0.conv1.weight']
        assert torch.equal(rgb, weight) and not torch.equal(depth, weight)


def test_weights_of_a_branch_are_not_there(monkeypatch):
    notices = []
    monkeypatch.setattr('mwam_mm.convert.pretrained.notice', notices.append)
    with pytest.raises(
            FileNotFoundError,
            match=r"branches\['depth'\].init_cfg.*do not exist"):
        build(
            segmentor(),
            branches=dict(
                depth=dict(
                    init_cfg=dict(
                        type='Pretrained', checkpoint='nowhere/r.pth'))))
    model = build(
        segmentor(),
        branches=dict(
            depth=dict(
                init_cfg=dict(
                    type='Pretrained', checkpoint='https://host/r.pth'))))
    assert 'https' not in str(model.backbone.branches.depth.init_cfg)
    assert notices == [
        "branches['depth'].init_cfg: https://host/r.pth left out, training "
        'starts from scratch. To use it, download the file and name its path'
    ]


@pytest.mark.parametrize('depth', [18, 50])
def test_a_branch_of_another_depth(depth):
    """The heads get what the base's backbone gives."""
    base = segmentor(
        backbone=dict(resnet(), depth=18 if depth == 50 else 50),
        decode_head=fcn(32 if depth == 50 else 128),
        auxiliary_head=None)
    model = build(base, branches=dict(depth=dict(depth=depth)))
    assert [type(f).__name__ for f in model.neck.fusions
            ] == ['ConcatFusion'] * 4
    assert model.backbone.branches.depth.depth == depth
    assert model(torch.randn(2, 4, 32, 32)).shape[1] == 19


@pytest.mark.parametrize('branches, error', [
    (dict(infrared=dict(depth=50)), 'infrared'),
    (dict(depth=dict(depth=19)), '19'),
])
def test_branches_that_cannot_be(branches, error):
    with pytest.raises((KeyError, ValueError), match=error):
        build(segmentor(), branches=branches)


@pytest.mark.parametrize('base, error', [
    (dict(type='MultimodalEncoderDecoder', image_encoder=dict()), 'CLIP'),
    (dict(type='DepthEstimator', backbone=dict(type='VPD')), 'text'),
    (segmentor(backbone=dict(type='VPD')), 'text'),
    (segmentor(backbone=None), 'no backbone'),
    (segmentor(data_preprocessor=dict(type='Odd')), 'Odd'),
    (segmentor(backbone=resnet(plugins='https://host/file')),
     'without a download.*backbone.plugins'),
    (segmentor(
        backbone=dict(type='mwam_mm.TokenBackbone', shape='sequence')),
     r'TokenBackbone gives.*\(1, 1024, 6\)'),
    (segmentor(backbone=resnet(dilations=(1, 1, 0, 1))), 'ResNet fails'),
])
def test_what_cannot_be_carried_is_an_error(base, error):
    with pytest.raises(ValueError, match=error):
        build(base)


def test_the_base_is_not_changed():
    base = ConfigDict(segmentor(pretrained='open-mmlab://resnet18_v1c'))
    before = copy.deepcopy(base)
    build(base, num_classes=4, override={'backbone.base_channels': 4})
    assert base == before


def test_branches_of_different_width():
    """CGNet hands its image on in its features."""
    base = segmentor(
        backbone=dict(
            type='CGNet',
            num_channels=(8, 16, 16),
            num_blocks=(2, 2),
            norm_cfg=dict(type='BN')),
        decode_head=fcn(32),
        auxiliary_head=None)
    model = build(base)
    assert model.neck.in_channels[0] == dict(rgb=11, depth=9)
    assert [type(f).__name__ for f in model.neck.fusions] == [
        'ConcatFusion', 'ConcatFusion', 'SumFusion']
    assert model(torch.randn(2, 4, 32, 32)).shape[1] == 19


@pytest.mark.parametrize('base', [DDRNET, TOKENS])
def test_branches_are_encoded_once_whatever_they_give(base):
    model = build(base, fusion=dict(type='mwam_mm.ConcatFusion')).eval()
    x = torch.randn(2, 4, 64, 64)
    with torch.no_grad(), model.backbone.encode_once() as session:
        shared = []
        for names in (('rgb', 'depth'), ('rgb', ), ('depth', )):
            session.select(names, x)
            shared.append(model(x))
    with torch.no_grad():
        expected = [model(x)]
        for absent in (slice(3, 4), slice(0, 3)):
            blind = x.clone()
            blind[:, absent] = 0
            expected.append(model(blind))
    for one, other in zip(shared, expected):
        assert torch.allclose(one, other, atol=1e-5)


@pytest.mark.parametrize('override', [
    [('backbone.depth', 18)], 'backbone.depth=18', []])
def test_changes_of_the_base_that_are_no_dict(override):
    with pytest.raises(TypeError, match='override must be a dict from keys'):
        MODELS.build(dict(
            type='mwam_mm.multimodal', base=dict(type='EncoderDecoder'),
            modalities=MODALITIES, override=override))


def test_parts_that_are_not_of_the_base():
    with pytest.raises(TypeError, match=r"\['neck'\].*mwam or override"):
        build(neck=dict(mwam=dict()))
