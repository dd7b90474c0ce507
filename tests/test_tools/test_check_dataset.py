"""Tests of tools/analysis_tools/check_dataset.py."""
import re
import sys

import cv2
import numpy as np
import pytest

from tests.benchmarks import REPO, write_fmb
from tests.stacks import needs_classification
from tests.tiny_cls import write_casia_surf

CONFIG = str(REPO / 'configs/fmb/two-stream-r50_md_fmb.py')


@pytest.fixture
def root(tmp_path):
    return write_fmb(tmp_path / 'fmb')


@pytest.fixture
def options(root):
    return [
        CONFIG, '--cfg-options', *(f'{split}_dataloader.dataset.data_root='
                                   f'{root}'
                                   for split in ('train', 'val', 'test'))
    ]


@pytest.fixture
def check(load_tool, monkeypatch, capsys):

    def run(*argv):
        monkeypatch.setattr(sys, 'argv', ['check_dataset.py', *argv])
        load_tool('analysis_tools/check_dataset').main()
        return capsys.readouterr().out

    return run


def test_report(check, options, root):
    out = check(*options)
    assert 'train: 3 samples, 0 of them bad' in out
    assert 'thermal_path: 3 files' in out
    assert '40 x 56 (3)' in out
    # val and test are one dataset, which is read once
    assert 'val: 2 samples' in out and 'test: ' not in out
    thermal = np.stack([
        cv2.imread(str(path), -1)
        for path in (root / 'train/Infrared').iterdir()
    ]).astype(float)
    printed = re.search(r'thermal=dict\(mean=(\S+), std=(\S+)\)', out)
    assert float(printed[1]) == pytest.approx(thermal.mean(), rel=1e-3)
    assert float(printed[2]) == pytest.approx(thermal.std(), rel=1e-3)
    assert '127.5 / 127.5' in out  # what the config has does not fit
    assert 'No problem found' in out


def test_one_split(check, options):
    out = check(*options, '--split', 'test')
    assert 'test: 2 samples' in out and 'train: ' not in out


def test_unused_files_are_noted(check, options, root):
    thermal = cv2.imread(str(root / 'train/Infrared/00001.png'), -1)
    cv2.imwrite(str(root / 'train/Infrared/00009.png'), thermal)
    out = check(*options).replace('\n', '')
    assert '1 files beside those of thermal_path' in out
    assert '00009.png' in out


def test_files_of_another_spelling_of_the_suffix_are_noted(
        check, options, root):
    image = cv2.imread(str(root / 'train/Visible/00001.png'))
    cv2.imwrite(str(root / 'train/Visible/00009.PNG'), image)
    out = check(*options).replace('\n', '')
    assert '1 files beside those of img_path' in out and '00009.PNG' in out


def test_a_modality_that_is_never_there(check, options, root):
    thermal = 'train_dataloader.dataset.pipeline.0.modalities.thermal'
    for path in (root / 'train/Infrared').iterdir():
        path.rename(path.with_suffix('.PNG'))
    out = check(*options, f'{thermal}.optional=True')
    assert 'note: train: no sample has a measurement of thermal.' in out
    assert 'nan' not in out and 'inf to' not in out
    assert 'No problem found' not in out


def test_files_in_false_colours(check, options, root):
    for path in (root / 'train/Infrared').iterdir():
        thermal = cv2.imread(str(path), -1)
        grey = cv2.merge([thermal] * 3)
        cv2.imwrite(
            str(path), grey if '00003' in path.name else cv2.applyColorMap(
                thermal, cv2.COLORMAP_JET))
    words = ' '.join(check(*options).split())
    assert 'note: train: 2 files of thermal are in colour, of which ' \
        'file_channels=[0] takes one channel' in words
    assert 'No problem found' not in words


def test_the_first_bad_file_is_named(exit_of_tool, options, root):
    path = root / 'train/Infrared/00003.png'
    path.write_bytes(path.read_bytes()[:50])
    (root / 'train/Infrared/00004.png').unlink()
    code, said = exit_of_tool('analysis_tools/check_dataset', *options)
    assert code == 1 and '2 bad samples' in said
    first = said.splitlines()[-2]
    assert first.startswith('  train: ') and str(path) in first


def test_a_wrong_tree_is_named(exit_of_tool, options, root):
    (root / 'train/Visible').rename(root / 'train/visible')
    code, said = exit_of_tool('analysis_tools/check_dataset', *options)
    assert code == 1 and str(root / 'train/Visible') in said


def test_a_value_that_may_mean_no_measurement(check, options, root):
    for path in (root / 'train/Infrared').iterdir():
        thermal = cv2.imread(str(path), -1)
        thermal[:20] = 0  # half of it
        cv2.imwrite(str(path), thermal)
    out = check(*options)
    words = ' '.join(out.split())
    assert re.search(r'note: train: 5\d% of the pixels of thermal are exactly '
                     '0', words)
    assert "set modalities['thermal'].invalid_value=0" in words
    assert 'No problem found' not in out and 'see the notes' in out


def test_statistics_of_other_data(exit_of_tool, options):
    code, said = exit_of_tool(
        'analysis_tools/check_dataset', *options,
        'train_dataloader.dataset.pipeline.0.modalities.thermal.mean=.5',
        'train_dataloader.dataset.pipeline.0.modalities.thermal.std=.25')
    assert code == 1
    assert "train: modalities['thermal'] has mean=0.5, std=0.25, but" in said
    assert "modalities['rgb']" not in said and 'bad samples' not in said


def test_files_of_two_types(exit_of_tool, options, root):
    path = root / 'train/Infrared/00003.png'
    image = cv2.imread(str(path), -1)
    cv2.imwrite(str(path), image.astype(np.uint16) * 257)
    code, said = exit_of_tool('analysis_tools/check_dataset', *options)
    assert code == 1
    assert "1 of uint16: the same number means different things in them. " \
        f"The first of uint16 is '{path}'" in ' '.join(said.split())


def test_a_model_that_does_not_fit(exit_of_tool, options):
    code, said = exit_of_tool(
        'analysis_tools/check_dataset', *options,
        'model.decode_head.num_classes=9',
        'model.backbone.modalities.thermal.std=1.', '--split', 'val')
    assert code == 1
    assert ('model.decode_head.num_classes=9, but val_dataloader.dataset has '
            '14 classes (road, ') in said
    assert "model.backbone.modalities['thermal'] (MultiModalBackbone) has " \
        'std=1.0' in said


def test_the_statistics_fit_into_a_file_that_inherits(check, options,
                                                      tmp_path):
    out = check(*options)
    text = out[out.index('modalities = dict('):]
    text = text[:text.index('\n\n')]
    child = tmp_path / 'child.py'
    child.write_text(f'_base_ = {CONFIG!r}\n{text}\n')
    out = check(str(child), *options[1:])
    assert '127.5 / 127.5' not in out and 'No problem found' in out


@needs_classification
def test_classification(check, tmp_path):
    root = write_casia_surf(tmp_path / 'data')
    next(root.rglob('train/2/*/ir/31.jpg')).write_bytes(b'no image')
    config = REPO / 'configs/casia_surf/three-stream-r18_md_casia-surf.py'
    options = [f'{split}_dataloader.dataset.data_root={root}'
               for split in ('train', 'val', 'test')]
    out = check(str(config), '--split', 'val', '--cfg-options', *options)
    assert 'val: 4 samples, 0 of them bad' in out
    with pytest.raises(SystemExit):
        check(str(config), '--split', 'train', '--cfg-options', *options)
