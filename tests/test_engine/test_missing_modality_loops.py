"""Validation and test loops over modality combinations."""
import copy
import json
import os
import pickle
import sys
from collections import Counter

import cv2
import numpy as np
import pytest
import torch
from mmcv.transforms import BaseTransform
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.registry import FUNCTIONS, METRICS
from mmengine.runner import Runner
from mmseg.models import EncoderDecoder, ResNet, SegDataPreProcessor
from torch import nn

from mwam_mm.engine.combinations import parse_combinations
from mwam_mm.layout import ModalityLayout, combination_name
from mwam_mm.models import MultiModalSegDataPreprocessor
from mwam_mm.models.necks.fusions import Fusion
from mwam_mm.registry import MODELS, TRANSFORMS

from .. import tiny  # noqa: F401
from ..processes import run_ranks
from ..reports import read_report
from .test_distributed import fsdp

MODALITIES = dict(
    rgb=dict(channels=3, mean=120, std=60, bgr_to_rgb=True),
    depth=dict(channels=1, mean=3, std=1.5, scale=0.001, invalid_value=0))
COMBINATIONS = ('rgb+depth', 'rgb', 'depth')
SIZE = 5
WHOLE = dict(mode='whole')
SLIDE = dict(mode='slide', crop_size=(32, 32), stride=(8, 8))


@TRANSFORMS.register_module()
class CountLoads(BaseTransform):
    """Count how often each image passes through the pipeline."""
    loads = Counter()

    def transform(self, results):
        self.loads[os.path.basename(results['img_path'])] += 1
        return results


@METRICS.register_module()
class ScriptedScore(BaseMetric):
    """Give the next one of the scores prepared."""
    scores = []

    def __init__(self, key='mIoU', **kwargs):
        super().__init__(**kwargs)
        self.key = key

    def process(self, data_batch, data_samples):
        self.results += [0] * len(data_samples)

    def compute_metrics(self, results):
        score = self.scores.pop(0)
        if isinstance(score, dict):
            return score
        return {} if score is None else {self.key: score}


@TRANSFORMS.register_module()
class LackRGB(BaseTransform):
    """Let one sample say that it has no RGB."""

    def transform(self, results):
        sample = results['data_samples']
        if sample.img_path.endswith('2.png'):
            sample.set_metainfo(dict(absent_modalities=['rgb']))
        return results


@FUNCTIONS.register_module()
def branches_as_units(module, recurse, nonwrapped_numel):
    """A policy by which FSDP shards each branch by itself."""
    return recurse or isinstance(module, ResNet)


@MODELS.register_module()
class EarlyFusion(nn.Module):
    """A backbone of one stream on the stacked tensor."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 8, 3, padding=1)

    def forward(self, x):
        return [self.conv(x)]


@MODELS.register_module()
class InPlaceFusion(Fusion):
    """What a user may well write, and what other loops do not mind."""

    def forward(self, features, present=None):
        fused, *others = features.values()
        for other in others:
            fused += other
        return fused.relu_()


@MODELS.register_module()
class TakesParts(MultiModalSegDataPreprocessor):
    """Gives one tensor for each modality."""

    def forward(self, data, training=False):
        data = super().forward(data, training)
        return dict(data, inputs={
            name: data['inputs'][:, m.slice] for name, m in self.layout.items()
        })


@MODELS.register_module()
class GivesOne(EncoderDecoder):

    def predict(self, inputs, data_samples):
        return super().predict(inputs, data_samples)[:1]


@MODELS.register_module()
class GivesMaps(EncoderDecoder):

    def predict(self, inputs, data_samples):
        return dict(labels=self._forward(inputs).argmax(1))


class Recorder(Hook):
    """Record the hook stages with their metrics and outputs."""
    priority = 'LOWEST'

    def __init__(self):
        self.stages, self.metrics, self.outputs = [], [], []


def _record(stage):

    def method(self, runner, *args, metrics=None, outputs=None, **kwargs):
        self.stages.append(stage)
        if metrics is not None:
            self.metrics.append(metrics)
        self.outputs += outputs or []

    return method


for _stage in ('before_{}', 'before_{}_epoch', 'before_{}_iter',
               'after_{}_iter', 'after_{}_epoch', 'after_{}'):
    for _mode in ('val', 'test'):
        _name = _stage.format(_mode)
        setattr(Recorder, _name, _record(_name))


@pytest.fixture
def data(tmp_path):
    """Pairs whose label follows from brightness and distance."""
    rng = np.random.default_rng(0)
    root = tmp_path / 'data'
    for folder in ('img', 'depth', 'label'):
        (root / folder).mkdir(parents=True)
    for i in range(SIZE):
        rgb = rng.integers(0, 256, (32, 40, 3), dtype=np.uint8)
        depth = rng.integers(500, 6000, (32, 40)).astype(np.uint16)
        label = (rgb.mean(2) > 120).astype(np.uint8) + (depth > 3000)
        cv2.imwrite(str(root / f'img/{i}.png'), rgb)
        cv2.imwrite(str(root / f'depth/{i}.png'), depth)
        cv2.imwrite(str(root / f'label/{i}.png'), label.astype(np.uint8))
    return root


def config(data, loop='mwam_mm.MissingModalityTestLoop', drop=(),
           optional=False, batch_size=2, test_cfg=None, **loop_cfg):
    """A config with the same loop for validation and test."""
    modalities = copy.deepcopy(MODALITIES)
    modalities['depth']['optional'] = optional
    meta_keys = ('img_path', 'ori_shape', 'img_shape', 'pad_shape',
                 'scale_factor', 'flip', 'flip_direction')
    if optional:
        meta_keys += ('absent_modalities', )
    pipeline = [
        dict(type='mwam_mm.LoadModalities', modalities=modalities),
        dict(type='mwam_mm.CountLoads'),
        dict(type='LoadAnnotations'),
        dict(type='PackSegInputs', meta_keys=meta_keys),
    ]
    if drop:
        pipeline.append(dict(type='mwam_mm.DropModality', modalities=drop))
    dataloader = dict(
        batch_size=batch_size,
        num_workers=0,
        sampler=dict(type='DefaultSampler', shuffle=False),
        dataset=dict(
            type='mwam_mm.MultiModalSegDataset',
            data_root=str(data),
            data_prefix=dict(
                img_path='img', depth_path='depth', seg_map_path='label'),
            img_suffix='.png',
            metainfo=dict(classes=('a', 'b', 'c')),
            pipeline=pipeline))
    evaluator = dict(type='IoUMetric', iou_metrics=['mIoU', 'mFscore'])
    model = dict(
        type='EncoderDecoder',
        data_preprocessor=dict(
            type='mwam_mm.MultiModalSegDataPreprocessor',
            modalities=modalities,
            size=(32, 40)),
        backbone=dict(
            type='mwam_mm.MultiModalBackbone',
            modalities=modalities,
            branch=dict(
                type='mmseg.ResNet', depth=18, base_channels=4, num_stages=2,
                strides=(1, 1), dilations=(1, 1), out_indices=(0, 1),
                norm_cfg=dict(type='BN'))),
        neck=dict(
            type='mwam_mm.MWAMNeck',
            modalities=modalities,
            in_channels=[4, 8]),
        decode_head=dict(
            type='FCNHead', in_channels=8, in_index=-1, channels=8,
            num_convs=1, num_classes=3, dropout_ratio=0,
            norm_cfg=dict(type='BN'),
            loss_decode=dict(type='CrossEntropyLoss')),
        test_cfg=test_cfg or dict(mode='whole'))  # yapf: disable
    loop_cfg = dict(type=loop, **loop_cfg)
    return Config(
        dict(
            default_scope='mmseg',
            experiment_name=f'{data.parent.name}_{np.random.rand()}',
            work_dir=str(data.parent / 'work'),
            randomness=dict(seed=3),
            model=model,
            test_dataloader=dataloader,
            test_evaluator=evaluator,
            test_cfg=loop_cfg,
            visualizer=dict(
                type='SegLocalVisualizer',
                vis_backends=[dict(type='LocalVisBackend')])))


def train_config(data, epochs=1, **kwargs):
    cfg = config(data, 'mwam_mm.MissingModalityValLoop', **kwargs)
    for key in ('dataloader', 'evaluator', 'cfg'):
        cfg[f'val_{key}'] = cfg.pop(f'test_{key}')
    cfg.train_dataloader = copy.deepcopy(cfg.val_dataloader)
    cfg.train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=epochs)
    cfg.optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.01))
    return cfg


def build(cfg, state=None):
    runner = Runner.from_cfg(cfg)
    model = getattr(runner.model, 'module', runner.model)
    if state is not None:
        model.load_state_dict(state)
        return runner
    # BatchNorm away from its initial identity, by numbers from the host, so
    # that every device gets the same.
    torch.manual_seed(4)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            size = module.num_features
            module.running_mean.copy_(torch.empty(size).normal_(0, 0.5))
            module.running_var.copy_(torch.empty(size).uniform_(0.5, 1.5))
    return runner


def count_branch_calls(runner):
    """Count the images that each branch encodes."""
    encoded = Counter()
    for name, branch in runner.model.backbone.branches.items():
        branch.register_forward_hook(
            lambda module, args, out, name=name: encoded.update(
                {name: len(args[0])}))
    return encoded


def separate_runs(data, state, names=COMBINATIONS, **kwargs):
    """Metrics of one stock test run per combination."""
    results = {}
    for name in names:
        drop = [m for m in MODALITIES if m not in name.split('+')]
        runner = build(config(data, 'TestLoop', drop=drop, **kwargs), state)
        results[name] = runner.test()
    return results


@pytest.mark.parametrize('test_cfg, windows', [
    (WHOLE, 1),
    (SLIDE, 2),
])
def test_one_pass_equals_separate_runs(data, test_cfg, windows):
    runner = build(config(data, test_cfg=test_cfg))
    encoded = count_branch_calls(runner)
    CountLoads.loads.clear()
    metrics = runner.test()

    assert CountLoads.loads == {f'{i}.png': 1 for i in range(SIZE)}
    assert encoded == {'rgb': SIZE * windows, 'depth': SIZE * windows}
    separate = separate_runs(
        data, runner.model.state_dict(), test_cfg=test_cfg)
    assert len({m['mIoU'] for m in separate.values()}) == 3
    for name, expected in separate.items():
        merged = {
            key: metrics[f'{name}/{key}']
            for key in expected if key not in ('time', 'data_time')
        }
        # The stock loop's are rounded to 0.01.
        assert merged == pytest.approx(expected, abs=0.005)
        assert len(merged) > 3
    scores = [metrics[f'{name}/mIoU'] for name in COMBINATIONS]
    assert metrics['avg/mIoU'] == pytest.approx(sum(scores) / 3)
    full, *rest = scores
    assert metrics['avg/PCR'] == pytest.approx(
        sum(100 * (full - score) / full for score in rest) / 2)


def test_features_that_a_fusion_changes_in_place(data):
    """Kept, they would hold what RGB and depth have together."""
    separate = {}
    for name in COMBINATIONS:
        drop = [m for m in MODALITIES if m not in name.split('+')]
        cfg = config(data, 'TestLoop', drop=drop)
        cfg.model.neck.fusion = dict(type='mwam_mm.InPlaceFusion')
        separate[name] = build(cfg).test()
    cfg = config(data, faults=[
        dict(type='mwam_mm.GaussianNoise', modality='depth', sigma=1e-9)])
    cfg.model.neck.fusion = dict(type='mwam_mm.InPlaceFusion')
    metrics = build(cfg).test()
    for name, values in separate.items():
        assert metrics[f'{name}/mIoU'] == pytest.approx(
            values['mIoU'], abs=0.005), name
    assert len({values['mIoU'] for values in separate.values()}) == 3
    assert metrics['depth.gaussian_noise_1e-09/mIoU'] == pytest.approx(
        metrics['rgb+depth/mIoU'], abs=1e-3)


def test_report_of_a_test(data, capfd):
    cfg = config(data, combinations=['depth', ['depth', 'rgb'], 'rgb'])
    cfg.load_from = str(data.parent / 'weights.pth')
    torch.save(build(cfg).model.state_dict(), cfg.load_from)
    cfg.experiment_name += '_2'
    cfg = Config(cfg.to_dict(), '# text', data.parent / 'experiment.py')
    runner = Runner.from_cfg(cfg)
    metrics = runner.test()
    work_dir = data.parent / 'work'
    folder = work_dir / runner.timestamp
    assert {'missing_modality_test.csv', 'missing_modality_test.json',
            'missing_modality_test.png'} <= set(os.listdir(folder))
    report = json.loads((folder / 'missing_modality_test.json').read_text())
    assert report['config'] == 'experiment.py'
    assert report['checkpoint'] == 'weights.pth'
    assert report['stage'] == 'test'
    # the most complete combination first, whatever the config's order
    assert tuple(report['combinations']) == COMBINATIONS
    for name, entry in report['combinations'].items():
        assert entry['samples'] == SIZE
        assert entry['metrics']['mIoU'] == metrics[f'{name}/mIoU']
    assert report['avg']['PCR']['mIoU'] == metrics['avg/PCR']
    log = capfd.readouterr().out
    table = log[log.index('| combination'):]
    for name in COMBINATIONS:
        assert f'| {name} ' in table
        assert log.index(f'Modalities {name}, 5 of 5') < log.index(table)


def test_hooks_are_called_as_by_the_stock_loop(data):
    stages = {}
    for loop in ('TestLoop', 'mwam_mm.MissingModalityTestLoop'):
        runner = build(config(data, loop))
        recorder = Recorder()
        runner.register_hook(recorder)
        result = runner.test()
        stages[loop] = recorder.stages
        assert recorder.metrics == [result]
    assert stages['TestLoop'] == stages['mwam_mm.MissingModalityTestLoop']
    # the outputs are the predictions of the complete combination
    assert [os.path.basename(o.img_path) for o in recorder.outputs
            ] == [f'{i}.png' for i in range(SIZE)]
    stock = build(config(data, 'TestLoop'), runner.model.state_dict())
    expected = Recorder()
    stock.register_hook(expected)
    stock.test()
    for a, b in zip(recorder.outputs, expected.outputs):
        assert torch.equal(a.pred_sem_seg.data, b.pred_sem_seg.data)
        assert not a.seg_logits.data.requires_grad


def test_save_best_on_the_average_in_training(data):
    cfg = train_config(data, epochs=2)
    cfg.default_hooks = dict(
        checkpoint=dict(
            type='CheckpointHook', interval=1, save_best='avg/mIoU'))
    runner = build(cfg)
    runner.train()
    work_dir = data.parent / 'work'
    best, = work_dir.glob('best_avg_mIoU_epoch_*.pth')
    report = read_report(work_dir, 'val')
    assert (report['stage'], report['checkpoint']) == ('val', 'epoch_2')
    scalars, = work_dir.glob('*/vis_data/scalars.json')
    logged = [json.loads(line) for line in scalars.read_text().splitlines()]
    averages = [line['avg/mIoU'] for line in logged if 'avg/mIoU' in line]
    assert len(averages) == 2
    assert best.name.endswith(f'epoch_{1 + int(np.argmax(averages))}.pth')
    assert averages[1] == pytest.approx(report['avg']['metrics']['mIoU'])


@pytest.mark.parametrize('by_epoch', [True, False])
def test_undefined_pcr_reaches_hooks_as_none(data, by_epoch, capfd):
    """Epochs with a full score of 0, 50 and 0 again."""
    ScriptedScore.scores[:] = [0., 0., 0., 50., 40., 30., 0., 0., 10.]
    cfg = train_config(data, epochs=3)
    if not by_epoch:
        cfg.train_cfg = dict(
            type='IterBasedTrainLoop', max_iters=3, val_interval=1)
        cfg.log_processor = dict(by_epoch=False)
    cfg.val_evaluator = dict(type='ScriptedScore')
    cfg.default_hooks = dict(
        logger=dict(type='LoggerHook', log_metric_by_epoch=by_epoch),
        checkpoint=dict(
            type='CheckpointHook', by_epoch=by_epoch, interval=1,
            save_best=['avg/PCR', 'avg/mIoU'], rule=['less', 'greater']))
    runner = build(cfg)
    recorder = Recorder()
    runner.register_hook(recorder)
    runner.train()
    assert not ScriptedScore.scores
    assert [m['avg/PCR'] for m in recorder.metrics] == [None, 30., None]
    assert [m['rgb/PCR'] for m in recorder.metrics] == [None, 20., None]
    work_dir = data.parent / 'work'
    scalars, = work_dir.glob('*/vis_data/scalars.json')
    logged = [json.loads(line) for line in scalars.read_text().splitlines()]
    logged = [line for line in logged if 'avg/mIoU' in line]
    assert [line.get('avg/PCR') for line in logged] == [None, 30., None]
    assert read_report(work_dir, 'val')['avg']['PCR'] == {'mIoU': None}
    report = capfd.readouterr().out
    assert ("WARNING - Undefined, reported as null: ['rgb/PCR', 'depth/PCR', "
            "'avg/PCR']") in report
    # one of each in a line of the log, none left from the epoch before
    summaries = [line for line in report.splitlines() if 'avg/mIoU: ' in line]
    assert [line.count('avg/PCR: ') for line in summaries] == [1, 1, 1]
    unit = 'epoch' if by_epoch else 'iter'
    assert (work_dir / f'best_avg_PCR_{unit}_2.pth').exists()


def test_samples_without_any_of_the_modalities(data, capfd):
    """A missing file leaves its sample out of that combination only."""
    (data / 'depth' / '3.png').unlink()
    runner = build(config(data, optional=True, batch_size=3))
    recorder = Recorder()
    runner.register_hook(recorder)
    encoded = count_branch_calls(runner)
    metrics = runner.test()
    assert encoded == {'rgb': SIZE, 'depth': SIZE - 1}
    report = read_report(data.parent / 'work', 'test')
    samples = {k: v['samples'] for k, v in report['combinations'].items()}
    assert samples == {'rgb+depth': 5, 'rgb': 5, 'depth': 4}
    warning = ('1 samples have none of the modalities of "depth" and are '
               'left out of it')
    said = capfd.readouterr().out
    assert said.count(warning) == 1
    assert [os.path.basename(o.img_path) for o in recorder.outputs
            ] == [f'{i}.png' for i in range(SIZE)]
    assert all('pred_sem_seg' in output for output in recorder.outputs)

    state = runner.model.state_dict()
    expected = separate_runs(
        data, state, ('rgb+depth', 'rgb'), optional=True, batch_size=3)
    (data / 'img' / '3.png').unlink()
    on_same = separate_runs(
        data, state, ('rgb+depth', 'depth'), optional=True)
    # PCR compares the samples that both have.
    full = report['combinations']['depth']['full_on_same_samples']['mIoU']
    assert full == pytest.approx(on_same['rgb+depth']['mIoU'], abs=0.005)
    assert full != metrics['rgb+depth/mIoU']
    assert metrics['depth/PCR'] == pytest.approx(
        100 * (full - metrics['depth/mIoU']) / full)
    assert metrics['avg/PCR'] == pytest.approx(
        (metrics['rgb/PCR'] + metrics['depth/PCR']) / 2)
    assert 'full_on_same_samples' not in report['combinations']['rgb']
    assert '"depth": its PCR compares the 4 samples that' in said
    expected['depth'] = on_same['depth']
    for name, values in expected.items():
        assert metrics[f'{name}/mIoU'] == pytest.approx(
            values['mIoU'], abs=0.005)


def test_constant_prediction(data, capfd):
    """A model of one class has a PCR of 0, which looks perfect."""
    runner = build(config(data))
    head = runner.model.decode_head.conv_seg
    head.weight.data.zero_()
    head.bias.data.copy_(torch.tensor([0., 1., 0.]))
    metrics = runner.test()
    assert metrics['avg/PCR'] == 0
    report = read_report(data.parent / 'work', 'test')
    for name in COMBINATIONS:
        entry = report['combinations'][name]
        assert entry['constant'] == 'b'
        assert entry['per_class']['mIoU'] == dict(
            a=0, b=pytest.approx(3 * metrics[f'{name}/mIoU']), c=0)
    said = capfd.readouterr().out
    assert '| rgb (constant) ' in said
    assert '"rgb": the prediction is \'b\' everywhere' in said


def test_combination_that_no_sample_has(data):
    for path in (data / 'depth').iterdir():
        path.unlink()
    metrics = build(config(data, optional=True)).test()
    assert metrics['rgb/mIoU'] == metrics['rgb+depth/mIoU'] > 0
    assert metrics['depth/mIoU'] is None and metrics['avg/mIoU'] is None
    assert metrics['rgb/PCR'] == 0 and metrics['avg/PCR'] is None
    report = read_report(data.parent / 'work', 'test')
    assert report['combinations']['depth']['samples'] == 0


def test_window_in_a_hole_of_the_depth(data):
    path = str(data / 'depth/1.png')
    depth = cv2.imread(path, cv2.IMREAD_UNCHANGED)
    depth[:20, :20] = 0
    cv2.imwrite(path, depth)
    slide = dict(mode='slide', crop_size=(16, 16), stride=(12, 12))
    runner = build(config(data, test_cfg=slide))
    metrics = runner.test()
    expected = separate_runs(data, runner.model.state_dict(), test_cfg=slide)
    for name, values in expected.items():
        assert metrics[f'{name}/mIoU'] == pytest.approx(
            values['mIoU'], abs=0.005)
        assert values['mIoU'] > 0


def test_parts_with_other_layouts(data):
    cfg = config(data)
    cfg.model.neck.modalities.depth.channels = 2
    runner = build(cfg)
    with pytest.raises(ValueError, match='rgb:3, depth:2.*MWAMNeck'):
        runner.test()


def test_blank_sample_is_an_error(data):
    path = str(data / 'img' / '2.png')
    cv2.imwrite(path, np.full((32, 40, 3), 120, np.uint8))
    (data / 'depth' / '2.png').unlink()
    with pytest.raises(ValueError, match='2.png has none of the modalities'):
        build(config(data, optional=True)).test()


def assert_equal_stock_tests(metrics, host, model):
    """Each combination scores as in a stock test without the others."""
    for name in COMBINATIONS:
        drop = [m for m in MODALITIES if m not in name.split('+')]
        stock = build(host('TestLoop', drop), model.state_dict())
        assert metrics[f'{name}/mIoU'] == pytest.approx(
            stock.test()['mIoU'], abs=0.005)
    assert len({metrics[f'{name}/mIoU'] for name in COMBINATIONS}) == 3


def test_host_without_multi_modal_backbone(data):
    """Its missing channels are blanked; nothing is shared."""

    def host(loop, drop=()):
        cfg = config(data, loop, drop=drop)
        cfg.model.backbone = dict(type='mwam_mm.EarlyFusion')
        cfg.model.pop('neck')
        return cfg

    runner = build(host('mwam_mm.MissingModalityTestLoop'))
    metrics = runner.test()
    assert_equal_stock_tests(metrics, host, runner.model)


@pytest.mark.parametrize('test_cfg', [WHOLE, SLIDE])
def test_a_host_that_looks_at_the_image_besides(data, test_cfg):
    """What is missing is not in the image either."""

    def host(loop, drop=()):
        cfg = config(data, loop, drop=drop, test_cfg=test_cfg)
        cfg.model.type = 'mwam_mm.LooksAgain'
        return cfg

    runner = build(host('mwam_mm.MissingModalityTestLoop'))
    encoded = count_branch_calls(runner)
    metrics = runner.test()
    assert encoded['rgb'] == encoded['depth'] == SIZE * (
        2 if test_cfg is SLIDE else 1)
    assert_equal_stock_tests(metrics, host, runner.model)


@pytest.mark.parametrize('change, message', [
    (dict(data_preprocessor=dict(type='mwam_mm.TakesParts')),
     'TakesParts gives inputs as a dict: let it give the stacked tensor'),
    (dict(type='mwam_mm.GivesOne'),
     'GivesOne.forward .*each of the 2 .* gave a list of 1 SegDataSample'),
    (dict(type='mwam_mm.GivesMaps'), 'GivesMaps.forward .* gave a dict$'),
])
def test_hosts_that_the_loops_cannot_take(data, change, message):
    cfg = config(data)
    cfg.merge_from_dict(dict(model=change))
    with pytest.raises(TypeError, match=message):
        build(cfg).test()


def test_batches_without_data_samples(data):
    runner = build(config(data))
    loop = runner.test_loop
    batch = next(iter(loop.dataloader))
    with pytest.raises(TypeError, match='gives data_samples=None: .*Pack'):
        loop._predictor.preprocess(dict(inputs=batch['inputs']))


def test_each_combination_writes_its_own_files(data):
    cfg = config(data)
    out = data.parent / 'out'
    cfg.test_evaluator.output_dir = str(out)
    runner = build(cfg)
    # metrics added to the built evaluator count, as tools add them
    runner.test_evaluator.metrics.append(
        METRICS.build(
            dict(
                type='DumpResults',
                out_file_path=str(data.parent / 'dump' / 'all.pkl'))))
    runner.test()
    assert not list(out.glob('*.png'))
    maps = {}
    for name in COMBINATIONS:
        assert len(list((out / name).iterdir())) == SIZE
        maps[name] = cv2.imread(str(out / name / '0.png'), -1)
        with open(data.parent / 'dump' / name / 'all.pkl', 'rb') as file:
            dumped = pickle.load(file)
        assert len(dumped) == SIZE
        np.testing.assert_array_equal(
            dumped[0]['pred_sem_seg']['data'].squeeze(), maps[name])
    assert (maps['rgb'] != maps['depth']).any()


def test_evaluator_that_only_writes_files(data):
    cfg = config(data)
    cfg.test_evaluator.update(
        format_only=True, output_dir=str(data.parent / 'out'))
    assert build(cfg).test() == {}


def test_model_without_layout(data):
    cfg = config(data)
    cfg.model.data_preprocessor = dict(type='SegDataPreProcessor')
    runner = build(cfg)
    assert isinstance(runner.model.data_preprocessor, SegDataPreProcessor)
    with pytest.raises(TypeError, match='has SegDataPreProcessor'):
        runner.test()


def test_no_report_is_lost(data):
    """Of a training, its test, and tests of two checkpoints besides."""
    cfg = train_config(data, epochs=2)
    tests = config(data)
    for key in ('dataloader', 'evaluator', 'cfg'):
        cfg[f'test_{key}'] = tests[f'test_{key}']
    runner = build(cfg)
    runner.train()
    runner.test()
    work_dir = data.parent / 'work'
    for folder in ('a', 'b'):
        tests.load_from = str(data.parent / folder / 'epoch_2.pth')
        os.mkdir(data.parent / folder)
        torch.save(runner.model.state_dict(), tests.load_from)
        tests.experiment_name += folder
        Runner.from_cfg(tests).test()
    reports = [
        json.loads(path.read_text())
        for path in work_dir.glob('*/missing_modality_*.json')
    ]
    assert Counter((r['stage'], r['checkpoint']) for r in reports) == {
        ('val', 'epoch_2'): 1,
        ('test', 'epoch_2'): 1,
        ('test', 'epoch_2.pth'): 2
    }
    assert read_report(work_dir, 'val')['stage'] == 'val'
    assert read_report(work_dir, 'test')['checkpoint'] == 'epoch_2.pth'
    assert not list(work_dir.glob('*/_*'))


@pytest.mark.parametrize('key, given', [('MAE', None),
                                        ('roughness', dict(roughness=False))])
def test_lower_is_better(data, key, given, capfd):
    """Errors of 2, 6 and 3: three times as many, and half as many again."""
    ScriptedScore.scores[:] = [2., 6., 3.]
    cfg = config(data, higher_is_better=given)
    cfg.test_evaluator = dict(type='ScriptedScore', key=key)
    metrics = build(cfg).test()
    assert metrics['rgb/PCR'] == pytest.approx(200)
    assert metrics['depth/PCR'] == pytest.approx(50)
    assert metrics['avg/PCR'] == pytest.approx(125)
    report = read_report(data.parent / 'work', 'test')
    assert report['higher_is_better'] == {key: False}
    output = capfd.readouterr()
    assert f'| {key} ↓ | PCR (%) |' in output.out
    assert 'do not say whether higher is better' not in output.out


def test_metric_of_unknown_direction(data, capfd):
    """Higher is assumed, and the log says so."""
    ScriptedScore.scores[:] = [2., 1., 3.]
    cfg = config(data)
    cfg.test_evaluator = dict(type='ScriptedScore', key='roughness')
    assert build(cfg).test()['rgb/PCR'] == pytest.approx(50)
    report = read_report(data.parent / 'work', 'test')
    assert report['higher_is_better'] == dict(roughness=None)
    assert ("set test_cfg.higher_is_better={'roughness': False}" in
            capfd.readouterr().out)


def test_no_metric_of_a_combination_is_no_score(data, capfd):
    """Nobody knows why the evaluator gives none, so it is not 0."""
    ScriptedScore.scores[:] = [2., None, 1.]
    cfg = config(data)
    cfg.test_evaluator = dict(type='ScriptedScore')
    metrics = build(cfg).test()
    assert metrics['rgb/mIoU'] is metrics['rgb/PCR'] is None
    assert metrics['avg/mIoU'] is None
    assert metrics['depth/PCR'] == pytest.approx(50)
    assert 'Undefined, reported as null' in capfd.readouterr().out


def test_values_that_are_no_numbers(data):
    """They reach the caller as they are, and a NaN as None."""
    ScriptedScore.scores[:] = [
        dict(mIoU=50., kept=['a', 'b']), dict(mIoU=float('nan'), kept=[]),
        dict(mIoU=40., kept=['b'])]
    cfg = config(data)
    cfg.test_evaluator = dict(type='ScriptedScore')
    metrics = build(cfg).test()
    assert [metrics[f'{name}/kept'] for name in COMBINATIONS] == [
        ['a', 'b'], [], ['b']]
    assert [metrics[f'{name}/mIoU'] for name in COMBINATIONS] == [
        50, None, 40]


@pytest.mark.parametrize('given', [['MAE'], dict(MAE='lower'), False])
def test_bad_direction(data, given):
    runner = build(config(data, higher_is_better=given))
    with pytest.raises(TypeError, match='test_cfg.higher_is_better must map'):
        runner.test()


def test_direction_of_a_metric_that_is_not_there(data):
    runner = build(config(data, higher_is_better=dict(MAE=False)))
    with pytest.raises(ValueError, match=r"higher_is_better names \['MAE'\]"):
        runner.test()


def test_unknown_metric(data):
    with pytest.raises(ValueError, match=r"metric names \['mIou'\]"):
        build(config(data, metric='mIou')).test()


@pytest.mark.parametrize('combinations, error, message', [
    ([], ValueError, 'val_cfg.combinations is empty'),
    ([[]], ValueError, r'val_cfg.combinations\[0\] is empty'),
    (['rgb', 'rgb+ir'], ValueError,
     r"val_cfg.combinations\[1\] names \['ir'\].*\['rgb', 'depth'\]"),
    (['rgb+depth', ['depth', 'rgb']], ValueError,
     r'\[1\] repeats the combination "rgb\+depth"'),
    (['rgb+rgb'], ValueError, r'\[0\] names a modality twice'),
    ('rgb', TypeError, "must be 'all' or a list"),
    (None, TypeError, "must be 'all' or a list"),
])
def test_bad_combinations(combinations, error, message):
    with pytest.raises(error, match=message):
        parse_combinations(combinations, ModalityLayout(MODALITIES),
                           'val_cfg.combinations')


def test_all_combinations_of_three():
    layout = ModalityLayout({n: dict(channels=1) for n in 'abc'})
    parsed = parse_combinations('all', layout, 'x')
    assert [combination_name(c) for c in parsed
            ] == ['a+b+c', 'a+b', 'a+c', 'b+c', 'a', 'b', 'c']


def test_the_loop_names_the_config_key(data):
    runner = build(config(data, combinations=['rgb', 'ir']))
    with pytest.raises(ValueError, match=r'test_cfg.combinations\[1\]'):
        runner.test()


def test_bad_drop_probability(data):
    assert build(config(data, drop_probs=[0, 0.1])).test_loop.drop_probs
    runner = build(config(data, drop_probs=[0.1, 1]))
    with pytest.raises(ValueError, match=r'test_cfg.drop_probs.*\[0, 1\)'):
        runner.test()


def _test_on_rank(rank, data, weights):
    os.chdir(data.parent)
    cfg = config(data, optional=True, batch_size=1)
    cfg.launcher = 'pytorch'
    cfg.experiment_name = 'distributed'
    cfg.work_dir = str(data.parent / 'distributed')
    cfg.model_wrapper_cfg = dict(
        type='MMDistributedDataParallel', device_ids=None)
    runner = build(cfg, torch.load(weights))
    metrics = runner.test()
    (data.parent / f'{rank}.json').write_text(json.dumps(metrics))


@pytest.mark.skipif(
    sys.platform == 'win32', reason='needs the gloo backend over TCP')
def test_two_ranks_equal_one(data, on_cpu):
    """Five samples on two ranks: one is filled up, one lacks depth.

    Without sample 3 the results of the ranks interleave so that cutting them
    to the number of samples would keep the filler and lose sample 4.
    """
    (data / 'depth' / '3.png').unlink()
    runner = build(config(data, optional=True))
    metrics = runner.test()
    weights = str(data.parent / 'weights.pth')
    torch.save(runner.model.state_dict(), weights)
    run_ranks(_test_on_rank, data, weights)
    for rank in range(2):
        result = json.loads((data.parent / f'{rank}.json').read_text())
        assert result == metrics
    report = read_report(data.parent / 'distributed', 'test')
    assert report['combinations']['depth']['samples'] == 4


class LoadFirst(Runner):
    """Load weights before FSDP shards the model."""

    def build_model(self, model):
        model = super().build_model(model)
        model.load_state_dict(torch.load(self.cfg.weights))
        return model


SHARDED = {
    'one unit, batch of 1': (1, None, None),
    'one unit, batch of 2': (2, None, None),
    'units of branches, batch of 1': (1, 'branches_as_units', None),
    'units of branches, windows':
    (1, 'branches_as_units',
     dict(mode='slide', crop_size=(32, 32), stride=(8, 8))),
}


def lacking(data, **kwargs):
    """A test of five samples, of which one lacks RGB and one depth."""
    cfg = config(data, optional=True, **kwargs)
    cfg.test_dataloader.dataset.pipeline.append(dict(type='mwam_mm.LackRGB'))
    return cfg


def _test_sharded(rank, data, weights):
    found = {}
    for name, (batch_size, policy, test_cfg) in SHARDED.items():
        cfg = lacking(data, batch_size=batch_size, test_cfg=test_cfg)
        cfg.launcher = 'pytorch'
        cfg.experiment_name = name
        cfg.work_dir = str(data.parent / 'sharded')
        cfg.weights = weights
        cfg.model_wrapper_cfg = dict(
            type='MMFullyShardedDataParallel', device_id=torch.device('cpu'))
        if policy:
            cfg.model_wrapper_cfg.auto_wrap_policy = dict(type=policy)
        runner = LoadFirst.from_cfg(cfg)
        branches = runner.model.module.backbone.branches
        calls = Counter()
        for modality, branch in branches.items():
            branch.register_forward_hook(
                lambda *args, key=modality: calls.update([key]))
        found[name] = dict(metrics=runner.test(), calls=dict(calls))
    (data.parent / f'{rank}.json').write_text(json.dumps(found))


@fsdp
def test_sharded_model_equals_one_process(data, on_cpu):
    """In the second batch of 1, one rank has no RGB and the other no depth."""
    (data / 'depth' / '3.png').unlink()
    runner = build(lacking(data))
    expected = {None: runner.test()}
    state = runner.model.state_dict()
    slide = SHARDED['units of branches, windows'][-1]
    expected[str(slide)] = build(lacking(data, test_cfg=slide), state).test()
    weights = str(data.parent / 'weights.pth')
    torch.save(state, weights)
    run_ranks(_test_sharded, data, weights)
    for rank in range(2):
        found = json.loads((data.parent / f'{rank}.json').read_text())
        for name, (_, policy, test_cfg) in SHARDED.items():
            metrics = expected[str(test_cfg) if test_cfg else None]
            assert found[name]['metrics'] == metrics, name
            if policy:
                windows = 2 if test_cfg else 1
                assert found[name]['calls'] == dict.fromkeys(
                    ('rgb', 'depth'), 3 * windows)
    report = read_report(data.parent / 'sharded', 'test')
    samples = {k: v['samples'] for k, v in report['combinations'].items()}
    assert samples == {'rgb+depth': 5, 'rgb': 4, 'depth': 4}
