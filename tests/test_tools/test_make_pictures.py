"""Tests of tools/misc/make_pictures.py and of the pictures in docs/images."""
import json
import re
from pathlib import Path

import numpy as np
import pytest

from mwam_mm.evaluation import build_comparison

REPO = Path(__file__).resolve().parents[2]


@pytest.fixture
def tool(load_tool):
    return load_tool('misc/make_pictures')


def test_results_are_those_in_the_folder(tool, tmp_path):
    scores = {
        row: {seed: {'rgb': value + seed} for seed in range(3)}
        for row, value in (('plain', 50.), ('mwam', 60.))
    }
    comparison = build_comparison(scores, 'mIoU')
    (tmp_path / 'real').mkdir()
    (tmp_path / 'real/trees.json').write_text(json.dumps(comparison))
    (tmp_path / 'other.json').write_text('{"rows": 1}')
    figures = tool.results(str(tmp_path))
    assert list(figures) == ['results_real_trees']
    drawn = [line.get_xdata() for line in
             figures['results_real_trees'].axes[0].get_lines()]
    np.testing.assert_array_equal(drawn[0], [50, 51, 52])


def test_files_are_the_same_each_time_and_small(tool, tmp_path):
    picture = np.zeros((9, 9, 3), np.uint8)
    first = [Path(p).read_bytes() for p in tool.save(
        dict(a=tool.data_path()), dict(b=picture), str(tmp_path / '1'))]
    again = [Path(p).read_bytes() for p in tool.save(
        dict(a=tool.data_path()), dict(b=picture), str(tmp_path / '2'))]
    assert first == again and b'MWAMNeck' in first[0]
    noise = np.random.default_rng(0).integers(0, 256, (600, 600, 3), np.uint8)
    with pytest.raises(ValueError, match='noise.png is larger'):
        tool.save({}, dict(noise=noise), str(tmp_path))


def test_the_readme_and_the_results_show_what_is_committed(tool):
    shown = {
        name
        for page, folder in (('README.md', 'docs/images'),
                             ('docs/results.md', 'images'))
        for name in re.findall(rf'\({folder}/([\w.-]+)\)',
                               (REPO / page).read_text())
    }
    files = {p.name: p for p in (REPO / 'docs/images').iterdir()}
    assert shown == set(files)
    assert all(p.stat().st_size <= tool.LARGEST for p in files.values())
    # the diagram is what the command draws
    assert {'data_path.svg', 'scene.png', 'combinations.svg',
            'balance.svg'} <= shown
