"""Tests of tools/train.py and of what it shares with tools/test.py."""
import ast
import os
import re
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.logging import HistoryBuffer
from mmengine.registry import RUNNERS
from mmengine.runner import Runner
from mmengine.runner.checkpoint import load_checkpoint

from mwam_mm.cli import build_runner, load_config, load_safely

from .. import tiny
from .conftest import TOOLS

FORBIDDEN = ('eval', 'exec', 'os.system', 'os.popen', 'torch.load',
             'yaml.load', 'compile', '__import__')


@pytest.fixture
def train(load_tool):
    return load_tool('train')


def parse(tool, *argv):
    return tool.build_parser().parse_args(argv)


def test_flags_of_mmsegmentation_and_mmdetection(train):
    args = parse(train, 'c.py', '--work-dir', 'w', '--resume', '--amp',
                 '--auto-scale-lr', '--launcher', 'pytorch', '--local-rank',
                 '3', '--cfg-options', 'a.b=1', 'c=[2,3]')
    assert args.resume and args.amp and args.auto_scale_lr
    assert (args.config, args.work_dir, args.launcher) == ('c.py', 'w',
                                                           'pytorch')
    assert args.local_rank == 3
    assert args.cfg_options == {'a.b': 1, 'c': [2, 3]}
    assert parse(train, 'c.py', '--local_rank', '2').local_rank == 2


def test_load_config_merges_options(train, write_config):
    path = write_config('a = dict(b=0, keep=True)\nc = [1]')
    cfg = load_config(
        parse(train, path, '--cfg-options', 'a.b=1', 'c=[2,3]', '--launcher',
              'slurm'))
    assert cfg.a == dict(b=1, keep=True)
    assert cfg.c == [2, 3]
    assert cfg.launcher == 'slurm'


@pytest.mark.parametrize('text, argv, expected', [
    ('', [], './work_dirs/my_job'),
    ('work_dir = "own"', [], 'own'),
    ('work_dir = "own"', ['--work-dir', 'flag'], 'flag'),
])
def test_work_dir(train, write_config, text, argv, expected):
    cfg = load_config(parse(train, write_config(text), *argv))
    assert cfg.work_dir == expected


def test_local_rank_reaches_the_environment(train, write_config, monkeypatch):
    path = write_config('')
    monkeypatch.setenv('LOCAL_RANK', '')  # so that it is put back
    monkeypatch.delenv('LOCAL_RANK')
    load_config(parse(train, path, '--local_rank', '2'))
    assert os.environ['LOCAL_RANK'] == '2'
    # what torchrun has set counts
    monkeypatch.setenv('LOCAL_RANK', '5')
    load_config(parse(train, path, '--local_rank', '2'))
    assert os.environ['LOCAL_RANK'] == '5'


def test_nothing_changes_without_flags(train):
    cfg = Config(dict(optim_wrapper=dict(type='OptimWrapper'), resume=True))
    before = cfg.to_dict()
    train.apply_args(cfg, parse(train, 'c.py'))
    assert cfg.to_dict() == before


def test_resume(train):
    cfg = Config(dict(resume=False))
    train.apply_args(cfg, parse(train, 'c.py', '--resume'))
    assert cfg.resume is True


@pytest.mark.parametrize('options', [[], ['load_from=iter_2.pth']])
@pytest.mark.parametrize('saved', [True, False])
def test_resume_of_what_starts_from_another_checkpoint(
        train, tmp_path, saved, options):
    if saved:
        (tmp_path / 'last_checkpoint').write_text('iter_4.pth')
    cfg = Config(dict(load_from='first_stage.pth', work_dir=str(tmp_path)))
    args = parse(train, 'c.py', '--resume', '--cfg-options', 'a=1', *options)
    cfg.merge_from_dict(args.cfg_options)
    train.apply_args(cfg, args)
    assert (cfg.resume, cfg.load_from) == (
        (True, 'iter_2.pth') if options else
        (True, None) if saved else (False, 'first_stage.pth'))


@pytest.mark.parametrize('wrapper', ['OptimWrapper', 'mmengine.OptimWrapper'])
def test_amp(train, wrapper):
    cfg = Config(
        dict(optim_wrapper=dict(type=wrapper, clip_grad=dict(max_norm=1))))
    train.apply_args(cfg, parse(train, 'c.py', '--amp'))
    assert cfg.optim_wrapper == dict(
        type='AmpOptimWrapper',
        loss_scale='dynamic',
        clip_grad=dict(max_norm=1))


def test_amp_with_the_default_wrapper(train):
    cfg = Config(dict(optim_wrapper=dict(optimizer=dict(type='SGD', lr=1.))))
    train.apply_args(cfg, parse(train, 'c.py', '--amp'))
    assert cfg.optim_wrapper.type == 'AmpOptimWrapper'


def test_amp_keeps_the_loss_scale_of_the_config(train):
    cfg = Config(
        dict(optim_wrapper=dict(type='AmpOptimWrapper', loss_scale=512.)))
    train.apply_args(cfg, parse(train, 'c.py', '--amp'))
    assert cfg.optim_wrapper.loss_scale == 512.


def test_amp_refuses_other_wrappers(train):
    cfg = Config(dict(optim_wrapper=dict(type='ApexOptimWrapper')))
    with pytest.raises(ValueError, match='--amp.*ApexOptimWrapper'):
        train.apply_args(cfg, parse(train, 'c.py', '--amp'))


def test_auto_scale_lr(train):
    args = parse(train, 'c.py', '--auto-scale-lr')
    cfg = Config(dict(auto_scale_lr=dict(base_batch_size=16)))
    train.apply_args(cfg, args)
    assert cfg.auto_scale_lr == dict(base_batch_size=16, enable=True)
    with pytest.raises(ValueError, match='base_batch_size'):
        train.apply_args(Config(dict()), args)


def test_build_runner_takes_the_runner_type():

    class OwnRunner(Runner):

        @classmethod
        def from_cfg(cls, cfg):
            return cls, cfg.work_dir

    RUNNERS.register_module(module=OwnRunner, name='TestToolsRunner')
    try:
        built = build_runner(
            Config(dict(runner_type='TestToolsRunner', work_dir='w')))
    finally:
        RUNNERS.module_dict.pop('TestToolsRunner')
    assert built == (OwnRunner, 'w')


PURE_PYTHON = """
from mmengine.dataset import InfiniteSampler
from mmengine.hooks import CheckpointHook, LoggerHook
from mmengine.optim import OptimWrapper
from mmengine.runner import IterBasedTrainLoop
from mmengine.visualization import LocalVisBackend
from mmseg.models import EncoderDecoder, FCNHead, ResNet
from mmseg.visualization import SegLocalVisualizer
from torch.optim import SGD

from mwam_mm.engine import MWAMHook
from mwam_mm.models import GatedFusion, MultiModalBackbone, MWAMNeck
from mwam_mm.models.data_preprocessors import MultiModalSegDataPreprocessor
from tests.tiny import TinyPairs

"""
CLASSES = ('InfiniteSampler', 'CheckpointHook', 'LoggerHook',
           'IterBasedTrainLoop', 'LocalVisBackend', 'EncoderDecoder',
           'FCNHead', 'ResNet', 'SegLocalVisualizer', 'SGD', 'MWAMHook',
           'GatedFusion', 'MultiModalBackbone', 'MWAMNeck',
           'MultiModalSegDataPreprocessor', 'TinyPairs')


def test_a_config_in_the_pure_python_style(tmp_path, train, write_config):
    """The types are classes, not names, and the training is the same."""
    named = tiny.config(
        tmp_path,
        mwam=dict(),
        hook=dict(
            type='mwam_mm.MWAMHook',
            intervention=[
                dict(type='combination', weights='k'),
                dict(type='distill', weights='k'),
            ]))
    text = PURE_PYTHON
    for key, value in named.to_dict().items():
        text += f'{key} = {value!r}\n'
    for name in CLASSES:
        text, count = re.subn(rf"'type': '[a-z_.]*{name}'",
                              f"'type': {name}", text)
        assert count
    text = text.replace("'optimizer'", "'type': OptimWrapper, 'optimizer'")
    path = write_config(text)
    after = []
    for cfg in (named, load_config(parse(train, path))):
        runner = build_runner(cfg)
        runner.train()
        after.append(runner.model.state_dict())
    torch.testing.assert_close(after[1], after[0], rtol=0, atol=0)


@pytest.mark.parametrize('settings', [
    dict(resume=True), dict(load_from='iter_2.pth')])
def test_a_checkpoint_that_is_cut_off_is_named(tmp_path, monkeypatch,
                                               settings):
    monkeypatch.chdir(tmp_path)
    Path('iter_2.pth').write_bytes(b'PK\3\4 and no more')
    Path('last_checkpoint').write_text('iter_2.pth')
    with pytest.raises(ValueError, match="'iter_2.pth' is no checkpoint"):
        build_runner(Config(dict(work_dir='.', **settings)))


def test_an_empty_last_checkpoint_is_named(tmp_path):
    (tmp_path / 'last_checkpoint').write_text('\n')
    with pytest.raises(ValueError, match='last_checkpoint is empty.*load_fro'):
        build_runner(Config(dict(work_dir=str(tmp_path), resume=True)))


def test_errors_are_short(exit_of_tool, write_config):
    path = write_config('optim_wrapper = dict(type="ApexOptimWrapper")')
    code, said = exit_of_tool('train', path, '--amp')
    assert code == 2
    assert 'error: --amp needs' in said


def test_mixed_precision_needs_a_gpu(exit_of_tool, write_config, on_cpu):
    path = write_config('optim_wrapper = dict(type="OptimWrapper")')
    code, said = exit_of_tool('train', path, '--amp')
    assert code == 2
    assert 'needs a GPU, but none can be seen: drop --amp' in said


@pytest.mark.parametrize('visible', [None, '3'])
@pytest.mark.parametrize('launcher', ['none', 'pytorch'])
def test_every_process_needs_a_gpu_of_its_own(monkeypatch, launcher, visible):
    monkeypatch.setattr('mmengine.device.utils.DEVICE', 'cuda')
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 1)
    if visible is None:
        monkeypatch.delenv('CUDA_VISIBLE_DEVICES', raising=False)
    else:
        monkeypatch.setenv('CUDA_VISIBLE_DEVICES', visible)
    cfg = Config(dict(runner_type='TestToolsNoRunner', launcher=launcher))
    monkeypatch.setenv('LOCAL_RANK', '1')
    with pytest.raises(ValueError, match='LOCAL_RANK=1.*at most 1') as error:
        build_runner(cfg)
    assert ('VISIBLE_DEVICES=3' in str(error.value)) == (visible is not None)
    # The first process has one, and comes as far as its runner.
    monkeypatch.setenv('LOCAL_RANK', '0')
    with pytest.raises(KeyError, match='TestToolsNoRunner'):
        build_runner(cfg)


def test_cluster_launchers_need_gpus(on_cpu):
    with pytest.raises(ValueError, match='slurm needs GPUs.*dist_train.sh'):
        build_runner(Config(dict(launcher='slurm')))


class Payload:
    """Runs code when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path), )


@pytest.mark.skipif(
    tuple(map(int, torch.__version__.split('.')[:2])) < (2, 6),
    reason='before PyTorch 2.6 checkpoints are read the unsafe way')
class TestLoadSafely:

    @pytest.mark.parametrize('trusted', [None, '0', ''])
    def test_a_checkpoint_cannot_run_code(self, tmp_path, monkeypatch,
                                          trusted):
        if trusted is not None:
            monkeypatch.setenv('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', trusted)
        path = tmp_path / 'evil.pth'
        torch.save(dict(state_dict={}, meta=Payload(tmp_path / 'ran')), path)
        load_safely()
        with pytest.raises(Exception, match='(?i)weights.only'):
            load_checkpoint(torch.nn.Linear(1, 1), str(path))
        assert not (tmp_path / 'ran').exists()

    def test_it_is_read_where_the_user_trusts_it(self, tmp_path, monkeypatch):
        path = tmp_path / 'own.pth'
        torch.save(dict(state_dict={}, meta=Payload(tmp_path / 'ran')), path)
        monkeypatch.setenv('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', '1')
        load_safely()
        load_checkpoint(torch.nn.Linear(1, 1), str(path))
        assert (tmp_path / 'ran').exists()

    def test_what_mmengine_saves_is_read(self, tmp_path):
        model = torch.nn.Linear(1, 1)
        path = tmp_path / 'own.pth'
        torch.save(
            dict(
                state_dict=model.state_dict(),
                meta=dict(epoch=1, dataset_meta=dict(classes=('a', ))),
                message_hub=dict(
                    log_scalars={
                        'train/lr': HistoryBuffer([0.1, 0.2], [1, 1]),
                        'train/n': HistoryBuffer([1, 2], [1, 1])
                    })), path)
        load_safely()
        checkpoint = load_checkpoint(model, str(path))
        buffers = checkpoint['message_hub']['log_scalars']
        assert buffers['train/lr'].current() == 0.2


def test_no_shell_eval_or_pickle_of_our_own():
    """Words that would run what a file or a config says."""
    found = []
    for folder in ('mwam_mm', 'tools'):
        for path in sorted((TOOLS.parent / folder).rglob('*.py')):
            if '.mim' in path.parts:
                continue
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call):
                    name = ast.unparse(node.func)
                    if name in FORBIDDEN or name.startswith('pickle.'):
                        found.append(f'{path.name}: {name}')
                if (isinstance(node, ast.keyword)
                        and node.arg in ('shell', 'allow_pickle')
                        and getattr(node.value, 'value', True)):
                    found.append(f'{path.name}: {node.arg}')
    assert not found
