"""Families of MMPretrain's model zoo train with MWAM.

One config of each: made multimodal by tools/misc/to_multimodal.py --smoke,
trained for one iteration and evaluated on the embedded set, in one process.
"""
import pytest
from mmengine.config import Config

from mwam_mm.convert.bases import find_base, load_config
from mwam_mm.convert.datasets import load_dataset
from mwam_mm.convert.job import compose, write_job
from mwam_mm.registry import DATASETS
from mwam_mm.stack import check_stack

from .stacks import needs_classification
from .zoo import train_with_mwam

pytestmark = needs_classification
# Fewer and narrower layers, where a family has no small variant.
VIT = dict(
    _delete_=True,
    embed_dims=48, num_layers=2, num_heads=4, feedforward_channels=96)
# Their classifiers start as 0, so the first gradient of the branches is 0.
NOT_ZERO = {'head.init_cfg': dict(
    type='Normal', layer='Linear', std=0.02)}
ZOO = {
    'resnet/resnet18_8xb32_in1k.py': {},
    'vision_transformer/vit-base-p16_64xb64_in1k.py': {
        'backbone.arch': VIT, 'head.in_channels': 48, **NOT_ZERO},
    'swin_transformer/swin-tiny_16xb64_in1k.py': {
        'backbone.arch': dict(
            _delete_=True, embed_dims=24, depths=[1] * 4,
            num_heads=[1, 1, 2, 2]),
        # Windows of 7 x 7 on smaller maps.
        'backbone.pad_small_map': True,
        'head.in_channels': 192},
    'convnext/convnext-tiny_32xb128_in1k.py': {
        'backbone.arch': dict(
            _delete_=True, depths=[1] * 4, channels=[8, 16, 32, 64]),
        'head.in_channels': 64},
    'mobilenet_v2/mobilenet-v2_8xb32_in1k.py': {},
    'efficientnet/efficientnet-b0_8xb32_in1k.py': {},
    'repvgg/repvgg-A0_8xb32_in1k.py': {},
    'deit/deit-tiny_4xb256_in1k.py': {
        'backbone.arch': VIT, 'head.in_channels': 48, **NOT_ZERO},
    'mae/benchmarks/vit-base-p16_8xb128-coslr-100e_in1k.py': {
        'backbone.arch': VIT, 'head.in_channels': 48},
    'eva02/eva02-tiny-p14_in1k.py': {
        'backbone.arch': VIT, 'head.in_channels': 48},
}


@pytest.fixture(scope='module', autouse=True)
def mmpretrain():
    check_stack('mmpretrain')


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """The working directory of all runs: the scenes are rendered once."""
    return tmp_path_factory.mktemp('cls-zoo')


@pytest.mark.parametrize('name', ZOO, ids=lambda name: name.split('/')[0])
def test_family_trains_with_mwam(name, folder, monkeypatch):
    monkeypatch.chdir(folder)
    train_with_mwam('mmpretrain', name, folder, 64, ZOO[name])


def test_the_command_finds_the_size_that_windows_need(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'small.py').write_text(
        "_base_ = 'mmpretrain::swin_transformer/swin-tiny_16xb64_in1k.py'\n"
        'model = dict(\n'
        '    backbone=dict(arch=dict(\n'
        '        _delete_=True, embed_dims=24, depths=[1, 1, 1, 1],\n'
        '        num_heads=[1, 1, 2, 2])),\n'
        '    head=dict(in_channels=192))\n')
    write_job('small.py', ['rgb:3', 'depth:1'], 'job.py', smoke=True)
    cfg = Config.fromfile('job.py')
    assert cfg.model.override['backbone.img_size'] == 256
    assert cfg.model.num_classes == 7
    assert cfg.default_hooks.checkpoint is None
    assert cfg.val_evaluator.type == 'Accuracy'
    assert cfg.train_dataloader.dataset.type == 'mwam_mm.SceneClsDataset'


def test_a_base_whose_dataset_holds_the_images(tmp_path, monkeypatch):
    """Its pipeline loads nothing."""
    monkeypatch.chdir(tmp_path)
    name = 'mmpretrain::resnet/resnet18_8xb16_cifar10.py'
    base = load_config(find_base(name))
    (tmp_path / 'job.py').write_text(compose(
        name, base, load_dataset(None, base), ['rgb:3', 'depth:1'],
        smoke_size=64))
    cfg = Config.fromfile('job.py')
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        sample = DATASETS.build(loader.dataset)[0]
        assert sample['inputs'].shape[0] == 4
