"""Tests of tools/deployment/export.py."""
import sys

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import save_checkpoint

from mwam_mm.apis import init_model

from .. import tiny

pytest.importorskip('onnx')
onnxruntime = pytest.importorskip('onnxruntime')


@pytest.fixture
def export(load_tool):
    return load_tool('deployment/export')


@pytest.fixture
def job(tmp_path):
    cfg = Config(dict(default_scope='mmseg', model=tiny.model()))
    cfg.dump(tmp_path / 'job.py')
    save_checkpoint(
        dict(state_dict=init_model(cfg, device='cpu').state_dict()),
        str(tmp_path / 'job.pth'))
    return str(tmp_path / 'job.py'), str(tmp_path / 'job.pth')


def test_command(export, job, tmp_path, monkeypatch, capsys):
    out = str(tmp_path / 'new/folder/rgb.onnx')
    monkeypatch.setattr(sys, 'argv', [
        'export.py', *job, '--out', out, '--combination', 'rgb', '--shape',
        '32', '64'
    ])
    export.main()
    session = onnxruntime.InferenceSession(
        out, providers=['CPUExecutionProvider'])
    assert [(x.name, x.shape) for x in session.get_inputs()] == [
        ('rgb', [1, 3, 32, 64])]
    said = capsys.readouterr().out
    assert 'output logits (1, 2, 32, 64)' in said
    assert 'differs from PyTorch by' in said


def test_a_file_that_differs_is_removed(export, job, tmp_path, monkeypatch):
    out = tmp_path / 'both.onnx'

    def write(module, images, path):
        out.touch()

    monkeypatch.setattr(export, 'export_model', write)
    monkeypatch.setattr(export, 'onnx_difference',
                        lambda *_: dict(a=0., logits=float('nan'), b=1e-7))
    monkeypatch.setattr(
        sys, 'argv',
        ['export.py', *job, '--out', str(out), '--shape', '32', '32'])
    with pytest.raises(SystemExit, match='differs from PyTorch by nan'):
        export.main()
    assert not out.exists()


def test_errors_are_short(exit_of_tool, job, tmp_path):
    code, said = exit_of_tool('deployment/export', *job, '--out', 'a.onnx',
                              '--shape', '32', '32', '--combination', 'dpeth')
    assert code == 2
    assert "error: combination[0] names ['dpeth']" in said
    torch.save(dict(state_dict=dict(of_another=torch.ones(1))), job[1])
    code, said = exit_of_tool('deployment/export', *job, '--out', 'a.onnx',
                              '--shape', '32', '32')
    assert code == 2 and 'is not a checkpoint of this config' in said
