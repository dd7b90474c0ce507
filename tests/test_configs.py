"""Every shipped config builds its model and its pipelines."""
import re
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import (
    DATASETS,
    MODELS,
    TRANSFORMS,
    init_default_scope,
)

from mwam_mm.stack import check_scope, has_detection
from tests.stacks import has_classification

CONFIGS = Path(__file__).resolve().parents[1] / 'configs'
JOBS = sorted(
    str(path.relative_to(CONFIGS)) for path in CONFIGS.rglob('*.py')
    if not {'_base_', 'studies'} & set(path.parts))


def load(job):
    cfg = Config.fromfile(CONFIGS / job)
    if cfg.default_scope == 'mmdet' and not has_detection():
        pytest.skip('needs mmdet and the compiled ops of mmcv')
    if cfg.default_scope == 'mmpretrain' and not has_classification:
        pytest.skip('needs mmpretrain')
    check_scope(cfg.default_scope)
    init_default_scope(cfg.default_scope)
    return cfg


# The twins of large models differ by MWAM only, see below.
@pytest.mark.parametrize(
    'job', [j for j in JOBS if not ('retinanet-r50' in j and '_mwam' in j)])
def test_model_runs_on_its_layout(job):
    cfg = load(job)
    model = MODELS.build(cfg.model).eval()
    layout = model.data_preprocessor.layout
    x = torch.randn(1, layout.num_channels, 64, 96)
    if cfg.default_scope == 'mmdet':
        classes = {
            c['num_classes']
            for head in ('bbox_head', 'roi_head') for c in dicts(
                cfg.model.get(head)) if 'num_classes' in c
        }
        assert len(classes) == 1
        dataset = DATASETS.get(cfg.val_dataloader.dataset.type)
        names = dataset.METAINFO.get('classes', range(*classes))
        assert classes == {len(names)}
        model.init_weights()  # some leave parameters empty until then
        with torch.no_grad():
            out, = model(x, [det_sample(64, 96)], mode='predict')
        found = out.pred_instances
        assert found.bboxes.isfinite().all() and found.scores.isfinite().all()
        assert set(found.labels.tolist()) <= set(range(*classes))
    elif cfg.default_scope == 'mmpretrain':
        dataset = DATASETS.get(cfg.val_dataloader.dataset.type)
        classes = cfg.model.head.num_classes
        assert len(dataset.METAINFO.get('classes', range(classes))) == classes
        with torch.no_grad():
            out, = model(x, mode='predict')
        assert out.pred_score.shape == (classes, )
    else:
        with torch.no_grad():
            out = model(x)
        assert out.shape[1] == cfg.model.decode_head.num_classes


def dicts(cfg):
    """All dicts within a config."""
    if isinstance(cfg, dict):
        yield cfg
        cfg = list(cfg.values())
    if isinstance(cfg, (list, tuple)):
        for value in cfg:
            yield from dicts(value)


def det_sample(height, width):
    from mmdet.structures import DetDataSample
    size = height, width
    return DetDataSample(
        metainfo=dict(
            img_shape=size,
            ori_shape=size,
            batch_input_shape=size,
            scale_factor=(1., 1.)))


@pytest.mark.parametrize('job', JOBS)
def test_pipelines_build(job):
    cfg = load(job)
    for key in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        Compose([
            TRANSFORMS.build(t) for t in cfg[key].dataset.pipeline
        ])
    if cfg.default_scope == 'mmpretrain':
        return  # the dataset itself has the labels
    # A metric such as VOCMetric or IoUMetric looks at what was loaded.
    types = [t.type for t in dicts(cfg.test_dataloader.dataset.pipeline)
             if 'type' in t]
    assert any('Annotations' in t for t in types), types


@pytest.mark.parametrize('job', [j for j in JOBS if 'mwam' in j])
def test_the_twin_differs_by_mwam_only(job):
    weighted = load(job)
    assert [h.type for h in weighted.custom_hooks] == ['mwam_mm.MWAMHook']
    plain = load(re.sub('_mwam[^_.]*', '', job))
    a, b = weighted.to_dict(), plain.to_dict()
    hook, = a.pop('custom_hooks')
    if 'loss' in hook.get('intervention', ''):
        a['model']['type'] = a['model'].pop('host')
    if '-combination' in job:  # in place of dropout, if the twin has it
        for part, key in ((b, 'train_pipeline'),
                          (b['train_dataloader']['dataset'], 'pipeline')):
            part[key] = [t for t in part[key]
                         if t['type'] != 'mwam_mm.RandomDropModality']
    neck = a['model']['neck'] or {}
    # Where the encoder fuses, the hook is told the branches instead.
    assert neck.pop('mwam', None) is not None or hook['branches']
    assert a == b


def test_reversed_weights_mirror_k():
    # Noise, and noise on top of much more of the lowest frequency.
    rgb = torch.randn(
        2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    inputs = dict(rgb=rgb, depth=rgb[:, :1] + 10)
    for way in ('md_mwam', 'md_mwam-hybrid', 'mwam-dropout'):
        weights = []
        for name in (way, f'{way}-reversed'):
            cfg = load(f'potholes/two-stream-r18_{name}_potholes.py')
            neck = MODELS.build(cfg.model).neck
            weights.append(neck.mwam.update(inputs))
        assert torch.allclose(weights[0], 2 - weights[1], atol=1e-6)
        assert abs(weights[0] - 1).min() > 0.05


def test_a_dumped_config_gives_the_same_model(tmp_path):
    """MMEngine sorts keys when it dumps, so depth comes before rgb there."""
    cfg = load('rgbd_seg_mwam.py')
    cfg.model.neck.fusion = dict(type='mwam_mm.ConcatFusion')
    cfg.dump(tmp_path / 'dumped.py')
    dumped = Config.fromfile(tmp_path / 'dumped.py')
    assert list(cfg.modalities) != list(dumped.modalities)
    one, other = (MODELS.build(c.model).eval() for c in (cfg, dumped))
    assert one.backbone.layout.names == other.backbone.layout.names
    for (a, _), (b, _) in zip(one.named_parameters(),
                              other.named_parameters()):
        assert a == b
    other.load_state_dict(one.state_dict())
    x = torch.randn(1, 4, 64, 96)
    with torch.no_grad():
        assert torch.equal(one(x), other(x))
