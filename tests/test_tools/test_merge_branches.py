"""Checkpoints of stock models become one of a multimodal model."""
import copy
import sys

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import load_checkpoint

from mwam_mm.models.backbones.pretrained import adapt_in_channels
from mwam_mm.stack import has_detection
from tests import tiny

TOOL = 'model_converters/merge_branches'
needs_detection = pytest.mark.skipif(
    not has_detection(), reason='needs mmdet and the compiled ops of mmcv')


def stock_segmentor(channels, **head):
    """A stock model with the backbone of a branch of ``tiny.model``."""
    multi = tiny.model()
    return dict(
        type='mmseg.EncoderDecoder',
        data_preprocessor=dict(type='mmseg.SegDataPreProcessor'),
        backbone=dict(
            multi['backbone']['branch'], in_channels=channels),
        decode_head=dict(multi['decode_head'], **head),
        auxiliary_head=dict(multi['decode_head'], num_classes=5),
        train_cfg=dict(),
        test_cfg=dict(mode='whole'))


def stock_detector(channels, **head):
    from tests import tiny_det
    multi = tiny_det.model()
    return dict(
        type='mmdet.FCOS',
        data_preprocessor=dict(type='mmdet.DetDataPreprocessor'),
        backbone=dict(
            multi['backbone']['branch'], in_channels=channels),
        neck=multi['neck']['neck'],
        bbox_head=dict(multi['bbox_head'], **head))


def save(cfg, path, seed):
    """A trained stock model: random weights, and statistics of its own."""
    torch.manual_seed(seed)
    model = MODELS.build(cfg)
    for tensor in model.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape))
    torch.save(
        dict(meta=dict(epoch=1), state_dict=model.state_dict()), str(path))
    return model


@pytest.fixture(params=[
    'segmentor',
    pytest.param('detector', marks=needs_detection)])
def task(request, tmp_path):
    """Path of a multimodal config, and how stock models are built."""
    if request.param == 'segmentor':
        scope, model, stock = 'mmseg', tiny.model(), stock_segmentor
    else:
        from tests import tiny_det
        scope, model, stock = 'mmdet', tiny_det.model(), stock_detector
    config = tmp_path / 'config.py'
    Config(dict(default_scope=scope, model=model)).dump(config)
    init_default_scope(scope)
    return str(config), stock


@pytest.fixture
def merge(load_tool, monkeypatch):
    def run(*argv):
        monkeypatch.setattr(
            sys, 'argv', ['merge_branches.py', *map(str, argv)])
        load_tool(TOOL).main()

    return run


def assert_same(module, expected):
    own, theirs = module.state_dict(), expected.state_dict()
    assert list(own) == list(theirs)
    assert all(torch.equal(own[key], theirs[key]) for key in own)


def test_each_branch_bit_by_bit(task, merge, tmp_path, capsys):
    config, stock = task
    rgb = save(stock(3), tmp_path / 'rgb.pth', 1)
    depth = save(stock(1), tmp_path / 'depth.pth', 2)
    out = tmp_path / 'new/merged.pth'
    merge(config, f'rgb={tmp_path}/rgb.pth', f'depth={tmp_path}/depth.pth',
          '--heads', 'depth', '-o', out)
    assert f'wrote {out}' in capsys.readouterr().out
    assert [p.name for p in out.parent.iterdir()] == ['merged.pth']
    model = MODELS.build(Config.fromfile(config).model)
    fusions = copy.deepcopy(model.neck.fusions.state_dict())
    load_checkpoint(model, str(out))
    assert_same(model.backbone.branches['rgb'], rgb.backbone)
    assert_same(model.backbone.branches['depth'], depth.backbone)
    for name in ('decode_head', 'bbox_head'):
        if hasattr(depth, name):
            assert_same(getattr(model, name), getattr(depth, name))
    if model.neck.neck is not None:
        assert_same(model.neck.neck, depth.neck)
    for key, value in model.neck.fusions.state_dict().items():
        assert torch.equal(value, fusions[key])
    x = torch.rand(2, 1, 32, 32)
    model.eval(), depth.eval()
    for a, b in zip(model.backbone.branches['depth'](x), depth.backbone(x)):
        assert torch.equal(a, b)


def test_without_heads_only_the_branches(task, merge, tmp_path):
    config, stock = task
    model = save(stock(3), tmp_path / 'rgb.pth', 1)
    merge(config, *(f'{name}={tmp_path}/rgb.pth' for name in tiny.MODALITIES),
          '-o', tmp_path / 'merged.pth')
    weights = torch.load(tmp_path / 'merged.pth')['state_dict']
    assert {key.split('.')[0] for key in weights} == {'backbone'}
    # The first convolution of RGB is adapted to depth.
    for name, channels in (('rgb', 3), ('depth', 1)):
        assert torch.equal(
            weights[f'backbone.branches.{name}.conv1.weight'],
            model.backbone.conv1.weight if channels == 3 else
            adapt_in_channels(model.backbone.conv1.weight, 1))


def test_from_multimodal_models(merge, tmp_path):
    config = tmp_path / 'config.py'
    Config(dict(default_scope='mmseg', model=tiny.model())).dump(config)
    models = {name: save(tiny.model(), tmp_path / f'{name}.pth', seed)
              for seed, name in enumerate(tiny.MODALITIES)}
    merge(config, *(f'{name}={tmp_path}/{name}.pth' for name in models),
          '--heads', 'rgb', '-o', tmp_path / 'merged.pth')
    merged = MODELS.build(tiny.model())
    load_checkpoint(merged, str(tmp_path / 'merged.pth'))
    for name, model in models.items():
        assert_same(merged.backbone.branches[name],
                    model.backbone.branches[name])
    assert_same(merged.decode_head, models['rgb'].decode_head)


@pytest.fixture
def refused(exit_of_tool, tmp_path):
    """What the tool says of files, and that it writes nothing."""
    config = tmp_path / 'config.py'
    Config(dict(default_scope='mmseg', model=tiny.model())).dump(config)
    init_default_scope('mmseg')

    def run(*argv):
        out = tmp_path / 'merged.pth'
        out.write_text('old')
        status, said = exit_of_tool(TOOL, str(config), *argv, '-o', str(out))
        assert status == 2 and out.read_text() == 'old'
        assert not list(tmp_path.glob('*.tmp'))
        return said

    return run


def test_what_does_not_fit_is_named(refused, tmp_path):
    good, bad = tmp_path / 'good.pth', tmp_path / 'bad.pth'
    save(stock_segmentor(3), good, 0)
    wide = stock_segmentor(3)
    wide['backbone'].update(base_channels=8)
    wide['decode_head'].update(in_channels=16)
    wide['auxiliary_head'].update(in_channels=16)
    save(wide, bad, 0)
    said = refused(f'rgb={good}', f'depth={bad}')
    assert f'modality "depth": {bad} does not fit ResNet' in said
    assert 'misshaped, the first backbone.branches.depth.layer1.0' in said

    weights = torch.load(good)['state_dict']
    first = weights.pop('backbone.layer1.0.conv1.weight')
    weights['backbone.layer1.2.conv1.weight'] = first
    torch.save(weights, str(bad))
    said = refused(f'rgb={bad}', f'depth={good}')
    assert ('1 missing, the first backbone.branches.rgb.layer1.0.conv1.weight;'
            ' 1 unexpected, the first backbone.branches.rgb.layer1.2.conv1'
            ) in said

    save(stock_segmentor(3, num_classes=7), bad, 0)
    said = refused(f'rgb={good}', f'depth={bad}', '--heads', 'depth')
    assert f'"depth": {bad} does not fit EncoderDecoder: 2 misshaped, the ' \
        'first decode_head.conv_seg' in said and 'or take no heads' in said

    # Heads that have learned behind a neck would be given something else.
    weights = torch.load(good)['state_dict']
    weights['neck.lateral.weight'] = torch.rand(1)
    torch.save(weights, str(bad))
    said = refused(f'rgb={bad}', f'depth={good}', '--heads', 'rgb')
    assert '1 unexpected, the first neck.neck.lateral.weight' in said


def test_files_that_are_none(refused, tmp_path):
    good, bad = tmp_path / 'good.pth', tmp_path / 'bad.pth'
    save(stock_segmentor(3), good, 0)
    assert 'modality "depth" has no file' in refused(f'rgb={good}')
    assert 'unknown modality "ir"' in refused(f'rgb={good}', f'ir={good}')
    assert 'unknown modality "ir"' in refused(
        f'rgb={good}', f'depth={good}', '--heads', 'ir')
    assert "'depth' is not MODALITY=FILE" in refused(f'rgb={good}', 'depth')
    assert 'modality "rgb" has two files' in refused(
        f'rgb={good}', f'rgb={good}')
    assert f'modality "depth": {tmp_path}/no.pth: there is no such file' in \
        refused(f'rgb={good}', f'depth={tmp_path}/no.pth')
    torch.save({'conv1.weight': torch.rand(1)}, str(bad))
    said = refused(f'rgb={good}', f'depth={bad}')
    assert f'"depth": {bad} has no key that begins with "backbone."' in said
    torch.save({'backbone.branches.ir.conv1.weight': torch.rand(1)}, str(bad))
    assert f'{bad} is of a model with the branches [\'ir\']' in refused(
        f'rgb={good}', f'depth={bad}')
    bad.write_bytes(good.read_bytes()[:1000])
    assert f'{bad} cannot be read: ' in refused(f'rgb={good}', f'depth={bad}')
    torch.save(dict(meta=dict()), str(bad))
    assert f'{bad} holds no weights' in refused(f'rgb={good}', f'depth={bad}')


def test_a_model_without_branches(load_tool):
    from mwam_mm.convert.branches import merge_branches
    model = MODELS.build(stock_segmentor(3))
    with pytest.raises(ValueError, match='no backbone with a branch'):
        merge_branches(model, dict(rgb='rgb.pth'))
