"""demo/image_demo.py, and what README says about one pair."""
import importlib.util
import os
import shlex
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from mwam_mm.apis import MultiModalInferencer

from .conftest import write_pair

REPO = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _keep_environment():
    """Take back what the demo sets in the environment."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def demo(monkeypatch, capsys):
    """Run the demo; what it printed."""
    path = REPO / 'demo' / 'image_demo.py'
    spec = importlib.util.spec_from_file_location('image_demo', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def run(*argv):
        monkeypatch.setattr(sys, 'argv', ['image_demo.py', *map(str, argv)])
        module.main()
        return capsys.readouterr().out

    return run


def read(path):
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert image is not None, path
    return image


@pytest.mark.parametrize('names', [('rgb', 'depth'), ('rgb', ), ('depth', )])
@pytest.mark.parametrize('combinations', [None, 'all'])
def test_picture(tmp_path, seg_job, pair, demo, names, combinations):
    sample = {name: pair[name] for name in names}
    files = [a for n, path in sample.items() for a in (f'--{n}', path)]
    files += ['--combinations', combinations] if combinations else []
    out = tmp_path / 'out' / 'result.png'
    assert str(out) in demo(*seg_job, *files, '--out', out)
    inferencer = MultiModalInferencer(*seg_job)
    result = inferencer(sample, combinations=combinations)
    np.testing.assert_array_equal(
        read(out)[..., ::-1], inferencer.draw(sample, result))


def test_some_combinations_into_a_folder(tmp_path, seg_job, demo):
    for i in range(2):
        write_pair(tmp_path / f'r/x/{i}.png', tmp_path / f'd/x/{i}.png', i)
    demo(*seg_job, '--depth', tmp_path / 'd', '--rgb', tmp_path / 'r',
         '--combinations', 'rgb,rgb+depth', '--out', tmp_path / 'out',
         '--device', 'cpu', '--batch-size', '2')
    files = {
        p.relative_to(tmp_path / 'out').as_posix()
        for p in (tmp_path / 'out').rglob('*.png')
    }
    assert files == {
        f'{folder}/x/{i}.png'
        for folder in ('pred/rgb', 'pred/rgb+depth', 'vis') for i in range(2)
    }


@pytest.mark.parametrize('argv, message', [
    ([], 'at least one modality: --rgb, --depth'),
    (['--thermal', 'a.png'], '--thermal'),
    (['--rgb', 'nowhere.png'], 'does not exist'),
    (['--rgb', '.'], 'name a folder'),
    (['--rgb', 'a.png', '--combinations', 'x'], "are ['rgb', 'depth']"),
])
def test_errors(tmp_path, seg_job, pair, demo, capsys, monkeypatch, argv,
                message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as error:
        demo(*seg_job, *argv)
    assert error.value.code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / 'result.png').exists()


def test_a_missing_checkpoint(seg_job, demo, capsys):
    with pytest.raises(SystemExit):
        demo(seg_job[0], 'gone.pth', '--rgb', 'a.png')
    assert 'error: gone.pth can not be found' in capsys.readouterr().err


class TestReadme:

    @pytest.fixture
    def blocks(self, tmp_path, seg_job, monkeypatch):
        """The section's command and code, and the files that they name."""
        text = (REPO / 'README.md').read_text(encoding='utf-8')
        section = text.split('## One pair\n')[1].split('\n## ')[0]
        for source, target in zip(
                seg_job, ('configs/rgbd_seg_mwam.py',
                          'work_dirs/rgbd_seg_mwam/iter_1600.pth')):
            (tmp_path / target).parent.mkdir(parents=True)
            shutil.copy(source, tmp_path / target)
        for i in range(3):
            write_pair(tmp_path / f'data/scenes/rgb/val/{i:06}.png',
                       tmp_path / f'data/scenes/depth/val/{i:06}.png', i)
        monkeypatch.chdir(tmp_path)
        return [
            section.split(f'```{language}\n')[1].split('```')[0]
            for language in ('shell', 'python')
        ]

    def test_command(self, blocks, demo):
        program, script, *argv = shlex.split(
            blocks[0].replace('\\\n', ' '))
        assert (program, script) == ('python', 'demo/image_demo.py')
        assert (REPO / argv[0]).is_file()
        demo(*argv)
        assert read('result.png').shape[1] == 5 * (5 * 56 + 4)

    def test_code(self, blocks):
        scope = {}
        exec(blocks[1], scope)
        assert scope['labels'].shape == (40, 56)
        assert list(scope['by_combination']) == ['rgb+depth', 'rgb', 'depth']
        assert scope['without_depth'].metainfo['absent_modalities'] == (
            'depth', )
        assert len(scope['results']) == 3
        for kind in ('pred', 'vis'):
            read(f'predictions/{kind}/000002.png')


def test_an_input_is_not_overwritten(seg_job, pair, demo, capsys):
    before = read(pair['rgb'])
    with pytest.raises(SystemExit):
        demo(*seg_job, '--rgb', pair['rgb'], '--out', pair['rgb'])
    assert 'would overwrite' in capsys.readouterr().err
    np.testing.assert_array_equal(read(pair['rgb']), before)
