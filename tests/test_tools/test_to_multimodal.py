"""Tests of tools/misc/to_multimodal.py."""
import ast
import importlib.util
import json
import os
import re
import shlex
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import Runner

from mwam_mm.config import walk_dicts
from mwam_mm.convert import job
from mwam_mm.convert.bases import base_of, find_base, load_config
from mwam_mm.convert.datasets import load_dataset
from mwam_mm.convert.pipeline import multimodal_transforms
from mwam_mm.convert.sizes import fit_sizes, short_side, size_factor
from mwam_mm.stack import has_detection

from ..processes import run_script

REPO = Path(__file__).resolve().parents[2]
TOOL = 'misc/to_multimodal'
FCN = 'mmseg::fcn/fcn_r18-d8_4xb2-80k_cityscapes-769x769.py'
BEIT = 'mmseg::beit/beit-base_upernet_8xb2-160k_ade20k-640x640.py'
AMP = 'mmseg::fcn/fcn_r101-d8_4xb2-amp-80k_cityscapes-512x1024.py'
SMALL = 'mmseg::bisenetv2/bisenetv2_fcn_4xb4-160k_cityscapes-1024x1024.py'


SEGFORMER = 'mmseg::segformer/segformer_mit-b0_8xb2-160k_ade20k-512x512.py'
PLAIN = '--no-dropout', '--no-combinations'
DROPOUT = dict(
    type='mwam_mm.RandomDropModality',
    modalities=dict(
        rgb=dict(
            channels=3,
            mean=[122.7, 118.5, 116.2],
            std=[47.1, 46.0, 46.5],
            bgr_to_rgb=True),
        depth=dict(
            channels=1, mean=3.78, std=1.23, scale=0.001, invalid_value=0)))
COMBINATION = dict(
    type='mwam_mm.MWAMHook',
    intervention=[
        dict(type='combination', weights='k'),
        dict(type='distill', weights='k')
    ])
LOOPS = [
    dict(type='mwam_mm.MissingModalityValLoop'),
    dict(type='mwam_mm.MissingModalityTestLoop')
]


@pytest.fixture
def tool(load_tool):
    return load_tool(TOOL)


@pytest.fixture
def write_with_defaults(tool, tmp_path):
    """Text of the config for some flags, and the config itself."""

    def run(name, *flags, modalities=('rgb:3', 'depth:1')):
        out = tmp_path / 'out.py'
        args = tool.build_parser().parse_args(
            [name, '--modalities', *modalities, *flags, '-o', str(out)])
        base = load_config(find_base(name))
        text = job.compose(
            base_of(name, args.out), base, load_dataset(args.dataset, base),
            args.modalities, args.recipe, args.combinations,
            64 if args.smoke else None)
        out.write_text(text)
        return text, without_scopes(Config.fromfile(out))

    return run


@pytest.fixture
def compose(write_with_defaults):
    """The same without what trains and evaluates with missing modalities."""

    def run(name, *flags, **kwargs):
        return write_with_defaults(name, *flags, *PLAIN, **kwargs)

    return run


def without_scopes(cfg):
    """A config without the scope that MMEngine notes in what is inherited."""
    for _, part in walk_dicts(cfg._cfg_dict):
        part.pop('_scope_', None)
    return cfg


def test_base_modalities_dataset(compose):
    text, cfg = compose(FCN)
    lines = text.splitlines()
    assert lines[0].startswith('# fcn_r18-d8_4xb2-80k_cityscapes-769x769')
    # _base_, modalities, model, hooks, and two statements for three loaders
    assert len(ast.parse(text).body) == 6
    assert max(map(len, lines)) <= 79
    stock = Config.fromfile(find_base(FCN))
    # The base's model, schedule and augmentation are referred to.
    assert cfg.model.base == stock.model
    for key in ('optim_wrapper', 'param_scheduler', 'train_cfg',
                'default_hooks', 'val_evaluator', 'test_evaluator'):
        assert cfg[key] == stock[key]
    assert list(cfg.modalities) == ['rgb', 'depth']
    assert cfg.modalities.depth.scale == 0.001
    assert cfg.custom_hooks == [dict(type='mwam_mm.MWAMHook')]
    loaders = cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader
    for loader, split, pipeline in zip(
            loaders, ('train', 'val', 'val'),
            (stock.train_pipeline, stock.test_pipeline, stock.test_pipeline)):
        assert loader.dataset.type == 'mwam_mm.SceneDataset'
        assert loader.dataset.split == split
        step, = loader.dataset.pipeline
        assert step.type == 'mwam_mm.multimodal'
        assert step.transforms == pipeline
        assert loader.batch_size in (1, 2)
    init_default_scope('mmseg')
    model = MODELS.build(cfg.model)
    assert model.decode_head.num_classes == 8
    assert model.auxiliary_head.num_classes == 8
    assert model.neck.mwam is not None


@pytest.mark.parametrize('flags, hook, dropped', [
    ((), COMBINATION, []),
    (('--recipe', 'combination'), COMBINATION, []),
    (('--recipe', 'dropout'), dict(type='mwam_mm.MWAMHook'), [DROPOUT]),
    (('--recipe', 'gradient'), dict(type='mwam_mm.MWAMHook'), []),
    (('--no-dropout', ), dict(type='mwam_mm.MWAMHook'), []),
])
def test_recipes(write_with_defaults, flags, hook, dropped):
    _, cfg = write_with_defaults(FCN, *flags)
    assert cfg.custom_hooks == [hook]
    step, *dropout = cfg.train_dataloader.dataset.pipeline
    assert step.transforms == Config.fromfile(find_base(FCN)).train_pipeline
    assert dropout == dropped
    assert [cfg.val_cfg, cfg.test_cfg] == LOOPS


@pytest.mark.parametrize('name', [
    'mmseg::mask2former/mask2former_r50_8xb2-160k_ade20k-512x512.py',
    'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
])
def test_recipe_without_logits(write_with_defaults, capsys, name):
    if not has_detection():
        pytest.skip('needs mmdet and the compiled ops of mmcv')
    _, cfg = write_with_defaults(name)
    hook, = cfg.custom_hooks
    assert hook.intervention == [dict(type='combination', weights='k')]
    assert 'note: "distill" left out' in capsys.readouterr().out


def test_no_such_recipe(tmp_path):
    with pytest.raises(ValueError, match=r"recipe='drop'.*'combination'"):
        job.write_job(FCN, ['rgb:3', 'depth:1'], str(tmp_path / 'job.py'),
                      recipe='drop')
    assert not os.listdir(tmp_path)


def test_only_a_file_of_its_own_is_replaced(tmp_path, exit_of_tool,
                                            load_tool, monkeypatch):
    out = tmp_path / 'job.py'
    out.write_text('# my job, by hand\n')
    command = FCN, '--modalities', 'rgb:3', 'depth:1', '-o', str(out)
    code, said = exit_of_tool(TOOL, *command)
    assert code == 2 and 'was not written by this command' in said
    assert out.read_text() == '# my job, by hand\n'
    out.unlink()
    texts = []
    for recipe in ('gradient', 'combination'):
        monkeypatch.setattr(
            sys, 'argv', ['to_multimodal', *command, '--recipe', recipe])
        load_tool(TOOL).main()
        texts.append(out.read_text())
    assert texts[0] != texts[1]


@pytest.mark.parametrize('flags', [(), ('--no-combinations', )])
def test_evaluation_of_combinations(write_with_defaults, flags):
    _, cfg = write_with_defaults(FCN, *flags)
    stock = Config.fromfile(find_base(FCN))
    assert len(cfg.val_dataloader.dataset.pipeline) == 1
    assert len(cfg.test_dataloader.dataset.pipeline) == 1
    if '--no-combinations' in flags:
        assert [cfg.val_cfg, cfg.test_cfg] == [stock.val_cfg, stock.test_cfg]
        assert cfg.default_hooks == stock.default_hooks
        assert cfg.visualizer == stock.visualizer
        return
    assert [cfg.val_cfg, cfg.test_cfg] == LOOPS
    assert cfg.visualizer == dict(
        stock.visualizer, type='mwam_mm.MultiModalSegVisualizer')
    checkpoint = cfg.default_hooks.pop('checkpoint')
    assert checkpoint == dict(
        stock.default_hooks.pop('checkpoint'),
        save_best='avg/mIoU',
        rule='greater')
    assert cfg.default_hooks == stock.default_hooks


def test_one_modality_is_never_missing(write_with_defaults):
    """Nor is there another one to weigh it against."""
    _, cfg = write_with_defaults(FCN, modalities=('rgb:3', ))
    assert len(cfg.train_dataloader.dataset.pipeline) == 1
    assert not cfg.custom_hooks and 'mwam' not in cfg.model
    assert cfg.val_cfg.type == 'ValLoop'


def test_the_base_has_no_checkpoint_hook(write_with_defaults, write_config):
    """MMEngine's default stays, with the best checkpoint besides."""
    stock = find_base(FCN)
    for hooks, expected in (
        ('_delete_=True, logger=dict(type="LoggerHook")',
         dict(type='CheckpointHook', interval=1, save_best='avg/mIoU',
              rule='greater')),
        ('checkpoint=None', None),
    ):
        base = write_config(f'_base_ = {stock!r}\ndefault_hooks=dict({hooks})')
        _, cfg = write_with_defaults(base)
        assert cfg.default_hooks.checkpoint == expected


def test_a_metric_that_nobody_knows(write_with_defaults, write_config,
                                    capsys):
    """The base's best metric is none of the loop's, so it cannot stay."""
    stock = find_base(FCN)
    base = write_config(f"""
_base_ = {stock!r}
default_hooks = dict(checkpoint=dict(save_best='mIoU'))
""")
    dataset = write_config(
        f"""
_base_ = '{REPO}/configs/_base_/datasets/scenes_rgbdt_seg.py'
val_evaluator = dict(_delete_=True, type='MyMetric')
""", 'data.py')
    _, cfg = write_with_defaults(base, '--dataset', dataset)
    assert cfg.default_hooks.checkpoint.save_best is None
    assert 'save_best=mIoU left out' in capsys.readouterr().out


@pytest.mark.parametrize('base, optimizer, expected', [
    (FCN, 'SGD', dict()),
    (SEGFORMER, 'AdamW', dict(intervention='update')),
    (BEIT, 'AdamW', dict(intervention='update')),
])
def test_intervention_suits_the_optimizer(write_with_defaults, base, optimizer,
                                          expected):
    """A factor of the gradients would hardly act on the steps of AdamW."""
    _, cfg = write_with_defaults(base, '--recipe', 'dropout')
    assert cfg.optim_wrapper.optimizer.type == optimizer
    assert cfg.custom_hooks[-1] == dict(type='mwam_mm.MWAMHook', **expected)


def test_the_base_is_as_it_was_named(tool, tmp_path, monkeypatch, capsys):
    """Neither the environment nor the working directory is written down."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'mine').mkdir()
    (tmp_path / 'mine/stock.py').write_text(f'_base_ = {SMALL!r}\n')
    absolute = str(tmp_path / 'mine/stock.py')
    for name, out, expected in (
        (SMALL, 'a.py', SMALL),
        ('mine/stock.py', 'mine/a.py', 'stock.py'),
        ('mine/stock.py', 'jobs/deep/a.py', '../../mine/stock.py'),
        ('mine/stock.py', 'my jobs/a.py', '../mine/stock.py'),
        (absolute, 'a.py', absolute),
    ):
        monkeypatch.setattr(sys, 'argv', [
            'to_multimodal.py', name, '--modalities', 'rgb:3', 'depth:1', '-o',
            out
        ])
        tool.main()
        command = capsys.readouterr().out.split('wrote ')[1].split(': ', 1)[1]
        assert shlex.split(command) == ['python', 'tools/train.py', out]
        text = Path(out).read_text()
        assert f'_base_ = {expected!r}' in text.splitlines()
        assert 'site-packages' not in text
        assert Config.fromfile(out).default_scope == 'mmseg'


def test_three_modalities_in_any_order(compose):
    _, cfg = compose(FCN, modalities=('thermal:1', 'rgb:3', 'depth:1'))
    assert list(cfg.modalities) == ['thermal', 'rgb', 'depth']


def test_own_dataset(compose, tmp_path, monkeypatch):
    """Labels and classes are the dataset's, augmentation is the base's."""
    monkeypatch.chdir(tmp_path)  # whose images do not change the sizes
    potholes = str(REPO / 'configs/_base_/datasets/potholes.py')
    _, cfg = compose(FCN, '--dataset', potholes)
    stock = Config.fromfile(potholes)
    dataset = cfg.train_dataloader.dataset
    step, = dataset.pop('pipeline')
    assert step.annotations == stock.train_pipeline[1]
    assert step.transforms == cfg.train_pipeline
    assert dict(dataset, pipeline=stock.train_pipeline) == \
        stock.train_dataloader.dataset
    assert cfg.model.num_classes == 2
    assert cfg.modalities == stock.modalities


def test_images_are_loaded_as_the_dataset_says(compose, write_config):
    dataset = write_config(
        """
modalities = dict(rgb=dict(channels=3), depth=dict(channels=1))
data = dict(
    type='mwam_mm.MultiModalSegDataset', data_root='nowhere',
    data_prefix=dict(img_path='rgb', depth_path='depth'),
    metainfo=dict(classes=('a', 'b')),
    pipeline=[dict(type='mwam_mm.LoadModalities', modalities=modalities,
                   border=100, resize_to='rgb', npz_key=dict(depth='d'))])
train_dataloader = val_dataloader = test_dataloader = dict(dataset=data)
val_evaluator = test_evaluator = dict(type='IoUMetric')
""", 'dataset.py')
    _, cfg = compose(FCN, '--dataset', dataset)
    for key in ('train_dataloader', 'val_dataloader'):
        step, = cfg[key].dataset.pipeline
        load = multimodal_transforms(
            step.transforms, step.modalities, loading=step.loading)[0]
        assert {k: load[k] for k in ('border', 'resize_to', 'npz_key')} == \
            dict(border=100, resize_to='rgb', npz_key=dict(depth='d'))


def test_a_test_pipeline_of_its_own(compose, write_config):
    base = write_config(
        f"""
_base_ = {FCN!r}
test_pipeline = _base_.test_pipeline
smaller = [dict(type='LoadImageFromFile'),
           dict(type='Resize', scale=(1024, 512), keep_ratio=True),
           dict(type='LoadAnnotations'), dict(type='PackSegInputs')]
val_dataloader = dict(dataset=dict(pipeline=smaller))
""", 'base.py')
    text, cfg = compose(base)
    scales = [
        t.scale for stage in ('val', 'test') for t in
        cfg[f'{stage}_dataloader'].dataset.pipeline[0].transforms
        if t.type == 'Resize'
    ]
    assert scales == [(1024, 512), (2049, 1025)]
    assert 'val_dataloader = test_dataloader' not in text
    assert 'val_dataloader = test_dataloader' in compose(FCN)[0]


def test_a_repeated_dataset_is_told(compose, write_config, capsys):
    """An epoch of the base is longer than it looks."""
    base = write_config(
        f"""
_base_ = {FCN!r}
data = _base_.train_dataloader.dataset
train_dataloader = dict(dataset=dict(
    _delete_=True, type='RepeatDataset', times=8, dataset=data))
""", 'base.py')
    _, cfg = compose(base)
    assert cfg.train_dataloader.dataset.type == 'mwam_mm.SceneDataset'
    said = capsys.readouterr().out
    assert said.count('note: the RepeatDataset times=8') == 1
    compose(FCN)
    assert 'around' not in capsys.readouterr().out


def test_smoke(compose):
    _, cfg = compose(BEIT, '--smoke')
    assert cfg.train_cfg == dict(
        type='IterBasedTrainLoop', max_iters=1, val_interval=1)
    assert cfg.param_scheduler == []
    assert cfg.default_hooks.checkpoint is None
    # The pretrained file is not at hand.
    assert cfg.model.override == {
        'pretrained': None,
        'backbone.img_size': (64, 64),
        'data_preprocessor.size': (64, 64)
    }
    transforms = cfg.train_dataloader.dataset.pipeline[0].transforms
    assert [t.get('scale', t.get('crop_size')) for t in transforms[2:4]
            ] == [(64, 64)] * 2
    assert transforms[5].type == 'PhotoMetricDistortion'
    assert cfg.train_dataloader.num_workers == 0
    assert cfg.train_dataloader.batch_size == 2


def test_rules_for_the_backbones_parameters_follow_it(compose):
    _, cfg = compose(BEIT)
    assert cfg.optim_wrapper.constructor == \
        'mwam_mm.MultiModalOptimWrapperConstructor'
    assert cfg.optim_wrapper.paramwise_cfg == dict(
        constructor='LayerDecayOptimizerConstructor',
        num_layers=12,
        layer_decay_rate=0.9)


def test_rules_do_not_match_the_name_of_a_modality(compose, write_config):
    """SegFormer's rule for "norm" is not for the branch "normals"."""
    dataset = write_config(
        """
modalities = dict(rgb=dict(channels=3), normals=dict(channels=3))
data = dict(
    type='mwam_mm.MultiModalSegDataset', data_root='nowhere',
    data_prefix=dict(img_path='rgb', normals_path='normals'),
    metainfo=dict(classes=('a', 'b')))
train_dataloader = val_dataloader = test_dataloader = dict(dataset=data)
val_evaluator = test_evaluator = dict(type='IoUMetric')
""", 'dataset.py')
    _, cfg = compose(SEGFORMER, '--dataset', dataset,
                     modalities=['rgb:3', 'normals:3'])
    assert cfg.optim_wrapper.constructor == \
        'mwam_mm.MultiModalOptimWrapperConstructor'
    assert 'norm' in cfg.optim_wrapper.paramwise_cfg.custom_keys
    assert 'constructor' not in compose(SEGFORMER)[1].optim_wrapper


def test_smoke_needs_no_gpu(compose):
    assert compose(AMP)[1].optim_wrapper.type == 'AmpOptimWrapper'
    wrapper = compose(AMP, '--smoke')[1].optim_wrapper
    assert wrapper.type == 'OptimWrapper' and 'loss_scale' not in wrapper
    assert wrapper.optimizer.type == 'SGD'


@pytest.mark.parametrize('base, modalities, message', [
    ('nowhere.py', 'rgb:3', 'nowhere.py does not exist'),
    ('mmseg::fcn/fcn_r18.py', 'rgb:3', "not in the zoo.*'fcn/fcn_r"),
    ('mmseg::_base_/models/fcn_unet_s5-d16.py', 'rgb:3',
     'no `optim_wrapper`'),
    ('nopackage::a.py', 'rgb:3', 'cannot import nopackage'),
    ('mwam_mm::rgbd_seg.py', 'rgb:3', 'by name from .*name the path'),
    ('mmseg::san/san-vit-b16_voc12aug-640x640.py', 'rgb:3', 'CLIP'),
    ('mmseg::vpd/vpd_sd_4xb8-25k_nyu-512x512.py', 'rgb:3', 'text'),
    ('mmseg::swin/swin-tiny-patch4-window7_upernet_1xb8-20k_levir-256x256.py',
     'rgb:3', 'ConcatCDInput.*change detection'),
    (FCN, 'radar:1', "radar:1.*'rgb', 'depth', 'thermal'"),
    (FCN, 'depth:3', 'depth:3.*1 channel'),
    (FCN, 'rgb', 'rgb:.*3 channel'),
    (FCN, 'rgb:3 rgb:3', 'rgb twice'),
])
def test_errors_are_short(exit_of_tool, tmp_path, base, modalities, message):
    out = tmp_path / 'out.py'
    code, said = exit_of_tool(TOOL, base, '--modalities',
                              *modalities.split(), '-o', str(out))
    assert code == 2
    assert re.search(message, said.splitlines()[-1])
    assert not list(tmp_path.iterdir())


def test_a_base_in_the_pure_python_style(exit_of_tool, tmp_path,
                                         write_config):
    plain = Config.fromfile(find_base(FCN))
    path = tmp_path / 'base.py'
    plain.dump(path)
    lazy = write_config(
        f'from mmseg.models import EncoderDecoder\n{path.read_text()}'.replace(
            "type='EncoderDecoder'", 'type=EncoderDecoder'), 'lazy.py')
    flags = '--modalities', 'rgb:3', '-o', str(tmp_path / 'out.py')
    status, said = exit_of_tool(TOOL, lazy, *flags)
    assert status == 2 and "dump('base.py')" in said
    Config.fromfile(lazy).dump(path)
    job.write_job(str(path), ['rgb:3'], str(tmp_path / 'out.py'))


def test_missing_package_is_named(exit_of_tool, tmp_path):
    if importlib.util.find_spec('mmpretrain'):
        pytest.skip('mmpretrain is installed')
    _, said = exit_of_tool(
        TOOL, 'mmseg::convnext/convnext-tiny_upernet_8xb2-amp-160k_ade20k-'
        '512x512.py', '--modalities', 'rgb:3', '-o', str(tmp_path / 'out.py'))
    assert 'mmpretrain' in said and 'not installed' in said


def test_a_model_that_cannot_be_built_is_not_written(exit_of_tool, tmp_path,
                                                     write_config):
    base = write_config(f"""
_base_ = '{Path(sys.modules['mmseg'].__file__).parent}/.mim/configs/fcn/\
fcn_r18-d8_4xb2-80k_cityscapes-769x769.py'
model = dict(backbone=dict(dilations=(1, 1, 0, 1)))
""")
    folder = tmp_path / 'folder'
    code, said = exit_of_tool(TOOL, base, '--modalities', 'rgb:3', '-o',
                              str(folder / 'out.py'))
    assert code == 2 and 'cannot be built' in said and 'ResNetV1c' in said
    assert not list(folder.iterdir())


def test_dataset_without_modalities(exit_of_tool, tmp_path, write_config):
    for file, message in ((write_config('a = 1'),
                           'my_job.py has no `modalities`'),
                          ('nowhere.py', 'nowhere.py')):
        code, said = exit_of_tool(TOOL, FCN, '--modalities', 'rgb:3',
                                  '--dataset', file, '-o',
                                  str(tmp_path / 'out.py'))
        assert code == 2 and message in said


def test_tools_know_the_modalities(compose, load_tool):
    layout = load_tool('test').model_layout(compose(FCN)[1])
    assert layout.names == ('rgb', 'depth')


def test_it_trains_as_it_stands(tmp_path):
    """In another folder, by the two commands of the help."""

    def run(*args):
        result = run_script(*args, cwd=tmp_path)
        assert result.returncode == 0, result.stderr[-3000:]
        return result.stdout

    run(REPO / 'tools/misc/to_multimodal.py', SMALL, '--modalities', 'rgb:3',
        'depth:1', '--smoke', '-o', 'configs/mine.py')
    assert os.listdir(tmp_path / 'configs') == ['mine.py']
    out = run(REPO / 'tools/train.py', 'configs/mine.py')
    assert 'Iter(train) [1/1]' in out and 'mwam/K_depth' in out
    assert 'mIoU' in out.splitlines()[-1]
    # It trains each modality alone, and ends with the table.
    assert 'rgb.decode.loss_ce' in out and 'depth.decode.loss_ce' in out
    table = out[out.index('Evaluation with missing modalities'):]
    for row in ('rgb+depth', 'rgb', 'depth', 'avg'):
        # One iteration may leave a model that predicts one class.
        assert re.search(
            rf'\| {re.escape(row)}(?: \(constant\))? +\| +\d', table)
    assert 'rgb/mIoU: ' in out.splitlines()[-1]
    assert not list(tmp_path.glob('work_dirs/**/*.pth'))


def test_smoke_images_are_as_large_as_the_model_needs(tmp_path):
    """LRASPP pools 49 by 49 pixels of a map of stride 8."""
    base = find_base('mmseg::mobilenet_v3/mobilenet-v3-d8-s_lraspp_4xb4-'
                     '320k_cityscapes-512x1024.py')
    out = tmp_path / 'out.py'
    job.write_job(base, ['rgb:3', 'depth:1'], str(out), smoke=True)
    cfg = Config.fromfile(out)
    assert cfg.model.override['data_preprocessor.size'] == (512, 512)
    assert cfg.train_dataloader.dataset.scene_cfg.height == 512


@pytest.fixture
def mmdet():
    pytest.importorskip('mmcv.ops')
    return pytest.importorskip('mmdet')


RETINA = 'mmdet::retinanet/retinanet_r18_fpn_1x_coco.py'
YOLOX = 'mmdet::yolox/yolox_tiny_8xb8-300e_coco.py'
RTMDET = 'mmdet::rtmdet/rtmdet-ins_tiny_8xb32-300e_coco.py'


def test_a_detector(mmdet, compose):
    text, cfg = compose(RETINA)
    stock = Config.fromfile(find_base(RETINA))
    assert cfg.model.base == stock.model
    for key in ('optim_wrapper', 'param_scheduler', 'train_cfg'):
        assert cfg[key] == stock[key]
    step, = cfg.train_dataloader.dataset.pipeline
    assert step.transforms == stock.train_pipeline
    assert cfg.train_dataloader.dataset.type == 'mwam_mm.SceneDetDataset'
    assert cfg.val_evaluator.ann_file == 'data/scenes/annotations/val.json'
    assert cfg.model.num_classes == 7


def test_a_benchmark_for_a_detector(mmdet, tmp_path, monkeypatch):
    """Its boxes are in XML files, and its folder stays what it is."""
    from tests.det_benchmarks import run, write_llvip
    monkeypatch.chdir(tmp_path)
    write_llvip(tmp_path / 'data/llvip')
    dataset = str(REPO / 'configs/_base_/datasets/llvip.py')
    job.write_job(
        RETINA, ['rgb:3', 'infrared:1'],
        'job.py',
        dataset=dataset,
        combinations=False,
        smoke=True)
    cfg = Config.fromfile('job.py')
    assert cfg.val_dataloader.dataset.data_root == 'data/llvip'
    cfg.update(work_dir=str(tmp_path / 'work'), log_level='WARNING')
    # An untrained model has to detect something.
    cfg.model.override = {'test_cfg.score_thr': 0.}
    assert 0 <= run(cfg)['coco/bbox_mAP'] <= 1


def test_classes_of_the_json(mmdet, compose, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    flags = '--dataset', str(
        REPO / 'configs/_base_/datasets/coco_rgb_infrared_depth.py')
    modalities = 'rgb:3', 'infrared:1', 'depth:1'
    with pytest.raises(FileNotFoundError, match='annotations/train.json'):
        compose(RETINA, *flags, modalities=modalities)
    folder = tmp_path / 'data/my_dataset/annotations'
    folder.mkdir(parents=True)
    (folder / 'train.json').write_text(
        json.dumps(
            dict(
                images=[dict(id=1, file_name='a.png', height=8, width=8)],
                annotations=[],
                categories=[dict(id=i, name=f'c{i}') for i in range(5)])))
    _, cfg = compose(RETINA, *flags, modalities=modalities)
    assert cfg.model.num_classes == 5


def test_nothing_names_the_classes(exit_of_tool, tmp_path, write_config):
    (tmp_path / 'a.png').touch()
    dataset = write_config(f"""
_base_ = '{REPO}/configs/_base_/datasets/scenes_rgbdt_seg.py'
train_dataloader = dict(dataset=dict(
    _delete_=True, type='mwam_mm.MultiModalSegDataset',
    data_root='{tmp_path}', img_suffix='.png', data_prefix=dict(img_path='')))
""")
    _, said = exit_of_tool(TOOL, FCN, '--modalities', 'rgb:3', '--dataset',
                           dataset, '-o', str(tmp_path / 'out.py'))
    assert 'MultiModalSegDataset' in said and 'metainfo=dict(classes' in said


def test_images_are_mixed_as_in_the_base(mmdet, compose):
    text, cfg = compose(YOLOX)
    stock = Config.fromfile(find_base(YOLOX))
    mix = cfg.train_dataloader.dataset
    assert mix.type == 'mwam_mm.MultiModalMixDataset'
    assert mix.pipeline == stock.train_pipeline
    step, = mix.dataset.pipeline
    assert step.transforms == stock.train_dataset.dataset.pipeline
    # Nothing of the base's is written out.
    assert 'Mosaic' not in text


def test_missing_modalities_of_detectors(mmdet, write_with_defaults):
    recipe = '--recipe', 'dropout'
    _, cfg = write_with_defaults(RETINA, *recipe)
    assert cfg.train_dataloader.dataset.pipeline[1:] == [DROPOUT]
    assert [cfg.val_cfg, cfg.test_cfg] == LOOPS
    assert cfg.default_hooks.checkpoint.save_best == 'avg/coco/bbox_mAP'
    assert cfg.visualizer.type == 'mwam_mm.MultiModalDetVisualizer'
    # Where images are mixed, the outer pipeline packs the samples.
    _, cfg = write_with_defaults(YOLOX, *recipe)
    mix = cfg.train_dataloader.dataset
    stock = Config.fromfile(find_base(YOLOX))
    assert mix.pipeline == [*stock.train_pipeline, DROPOUT]
    assert len(mix.dataset.pipeline) == 1
    # The pipeline of the last epochs drops modalities as well.
    _, cfg = write_with_defaults(RTMDET, *recipe)
    switch, = (h for h in cfg.custom_hooks if h.type == 'PipelineSwitchHook')
    assert switch.switch_pipeline[1:] == [DROPOUT]
    assert cfg.custom_hooks[-1].intervention == 'update'


@pytest.mark.parametrize('name', ['RETINA', 'YOLOX'])
def test_a_detector_trains_with_missing_modalities(mmdet, name, tmp_path,
                                                   monkeypatch):
    monkeypatch.chdir(tmp_path)
    job.write_job(
        globals()[name], ['rgb:3', 'depth:1'], 'job.py', smoke=True)
    cfg = Config.fromfile('job.py')
    cfg.update(work_dir='work', log_level='WARNING')
    # An untrained model has to detect something.
    cfg.model.override = dict(
        cfg.model.get('override') or {}, **{'test_cfg.score_thr': 0.})
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert runner.iter == 1
    metrics = runner.val_loop.run()
    assert 0 <= metrics['avg/coco/bbox_mAP'] <= 1
    assert 'depth/coco/bbox_mAP' in metrics


def test_smoke_shrinks_the_mixing(mmdet, compose):
    _, cfg = compose(YOLOX, '--smoke')
    mosaic, affine, *_ = cfg.train_dataloader.dataset.pipeline
    assert (mosaic.type, mosaic.img_scale) == ('Mosaic', (64, 64))
    assert affine.border == (-32, -32)
    resize, = cfg.model.override['data_preprocessor.batch_augments']
    assert resize.random_size_range == (64, 64)


def test_pipelines_of_hooks_and_masks(mmdet, compose):
    text, cfg = compose(RTMDET)
    stock = Config.fromfile(find_base(RTMDET))
    switch, = (h for h in cfg.custom_hooks if h.type == 'PipelineSwitchHook')
    step, = switch.switch_pipeline
    assert step.type == 'mwam_mm.multimodal'
    assert step.transforms == stock.train_pipeline_stage2
    assert cfg.val_evaluator.metric == ['bbox', 'segm']


def test_a_hook_that_reaches_no_wrapped_dataset(mmdet, compose, write_config,
                                                capsys):
    """PipelineSwitchHook sets the pipeline of the dataloader's own dataset."""
    scenes = REPO / 'configs/_base_/datasets/scenes_rgbdt_det.py'
    dataset = write_config(
        f"""
_base_ = {str(scenes)!r}
data = _base_.train_dataloader.dataset
train_dataloader = dict(dataset=dict(
    _delete_=True, type='RepeatDataset', times=2, dataset=data))
""", 'dataset.py')
    compose(RTMDET)
    assert 'PipelineSwitchHook' not in capsys.readouterr().out
    compose(RTMDET, '--dataset', dataset)
    assert 'note: PipelineSwitchHook switches the pipeline of no dataset ' \
        'inside RepeatDataset' in capsys.readouterr().out


def test_smoke_without_evaluation(mmdet, tmp_path, capsys):
    """The masked convolution of guided anchoring predicts on GPUs only."""
    out = tmp_path / 'out.py'
    job.write_job(
        'mmdet::guided_anchoring/ga-rpn_r50_fpn_1x_coco.py',
        ['rgb:3', 'depth:1'],
        str(out),
        smoke=True)
    cfg = Config.fromfile(out)
    if torch.cuda.is_available():
        assert cfg.val_cfg
    else:
        assert 'no evaluation' in capsys.readouterr().out
        for stage in ('val', 'test'):
            for key in ('dataloader', 'cfg', 'evaluator'):
                assert cfg[f'{stage}_{key}'] is None


@pytest.mark.parametrize('name, reason', [
    ('glip/glip_atss_swin-t_a_fpn_dyhead_pretrain_obj365.py',
     'vision-language'),
    ('instaboost/mask-rcnn_r50_fpn_instaboost-4x_coco.py',
     'InstaBoost.*paints over'),
    ('fast_rcnn/fast-rcnn_r50_fpn_1x_coco.py', 'LoadProposals.*proposals'),
    ('reid/reid_r50_8xb32-6e_mot15train80_test-mot15val20.py', 'BaseReID'),
])
def test_detectors_that_cannot_be_carried(mmdet, compose, name, reason):
    with pytest.raises(ValueError, match=f'(?s){reason}'):
        compose(f'mmdet::{name}')


class TestSizes:
    """Those of the generated pipeline follow the user's images."""

    def dataset(self, root, write_config, size):
        rng = np.random.default_rng(0)
        for folder, shape in (('rgb', (*size, 3)), ('depth', size),
                              ('label', size)):
            (root / folder).mkdir()
            for i in range(3):
                cv2.imwrite(
                    str(root / folder / f'{i}.png'),
                    rng.integers(0, 2, shape, dtype=np.uint8))
        return write_config(
            f"""
modalities = dict(rgb=dict(channels=3), depth=dict(channels=1))
data = dict(
    type='mwam_mm.MultiModalSegDataset', data_root={str(root)!r},
    data_prefix=dict(
        img_path='rgb', depth_path='depth', seg_map_path='label'),
    img_suffix='.png', metainfo=dict(classes=('a', 'b')))
train_dataloader = val_dataloader = test_dataloader = dict(dataset=dict(
    data, pipeline=[
        dict(type='mwam_mm.LoadModalities', modalities=modalities)]))
val_evaluator = test_evaluator = dict(type='IoUMetric')
""", 'dataset.py')

    def test_small_images_are_not_enlarged(self, compose, tmp_path,
                                           write_config, capsys):
        dataset = self.dataset(tmp_path, write_config, (102, 180))
        _, cfg = compose(SEGFORMER, '--dataset', dataset)
        assert '180 x 102 pixels' in capsys.readouterr().out
        step, = cfg.train_dataloader.dataset.pipeline
        by_type = {t.type: t for t in step.transforms}
        assert by_type['RandomResize'].scale == (408, 102)
        assert by_type['RandomResize'].ratio_range == (0.5, 2.0)
        assert by_type['RandomCrop'].crop_size == (128, 128)
        assert cfg.model.override['data_preprocessor.size'] == (128, 128)
        step, = cfg.val_dataloader.dataset.pipeline
        scale, = (t.scale for t in step.transforms if t.type == 'Resize')
        assert scale == (408, 102)

    def test_others_stay_as_the_base_has_them(self, compose, tmp_path,
                                              write_config):
        dataset = self.dataset(tmp_path, write_config, (300, 400))
        text, _ = compose(SEGFORMER, '--dataset', dataset)
        assert 'transforms=_base_.train_pipeline' in text
        assert 'data_preprocessor.size' not in text

    def test_images_that_are_not_there(self, compose, tmp_path, write_config,
                                       capsys):
        dataset = self.dataset(tmp_path, write_config, (102, 180))
        (tmp_path / 'rgb/1.png').unlink()
        (tmp_path / 'depth/2.png').unlink()
        text, _ = compose(SEGFORMER, '--dataset', dataset)
        assert 'transforms=_base_.train_pipeline' in text
        said = capsys.readouterr().out
        assert 'sizes of the base\'s pipeline stay' in said
        assert "depth/2.png' does not exist" in said


@pytest.mark.parametrize('steps, side', [
    ([dict(type='Resize', scale=(1333, 800), keep_ratio=True)], 800),
    ([dict(type='ResizeEdge', scale=256), dict(type='CenterCrop',
                                               crop_size=224)], 256),
    ([dict(type='EfficientNetCenterCrop', crop_size=224)], 224),
    ([dict(type='CenterCrop', crop_size=224)], None),
])
def test_the_size_of_a_test_pipeline(steps, side):
    assert short_side([dict(type='LoadImageFromFile'), *steps]) == side


@pytest.mark.parametrize('name', ['', 'Det', 'Cls'])
def test_scenes_are_not_rendered_for_their_size(name, tmp_path):
    dataset = dict(type=f'mwam_mm.Scene{name}Dataset',
                   data_root=str(tmp_path / 'scenes'))
    steps = [dict(type='ResizeEdge', scale=2048)]
    assert size_factor(
        steps, dataset, dict(modalities=dict(rgb=dict(channels=3)))) is None
    assert not (tmp_path / 'scenes').exists()


def test_sizes_of_mosaics():
    """Half of a mosaic sticks out of what it is cropped to."""
    cfg = [
        dict(type='Mosaic', img_scale=(640, 640), pad_val=114.),
        dict(type='RandomAffine', border=(-320, -320)),
        dict(type='RandomCrop', crop_type='relative', crop_size=(0.5, 0.5)),
        dict(type='RandomChoiceResize', scales=[(320, 640), (480, 640)]),
        dict(type='RandomResizedCrop', scale=(0.1, 1.0)),
        dict(type='Resize', scale=(640, -1)),
    ]
    assert fit_sizes(cfg, 0.25) == [
        dict(cfg[0], img_scale=(160, 160)),
        dict(cfg[1], border=(-80, -80)),
        cfg[2],
        dict(cfg[3], scales=[(80, 160), (120, 160)]),
        cfg[4],
        dict(cfg[5], scale=(160, -1)),
    ]
