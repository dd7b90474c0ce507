"""Tests of tools/dataset_converters/flow.py."""
import shutil
import sys

import cv2
import numpy as np
import pytest

from mwam_mm.datasets import LoadClip

LAYOUT = dict(rgb=dict(channels=6), flow=dict(channels=4, mean=127.5))


def texture():
    rng = np.random.default_rng(0)
    return cv2.GaussianBlur(
        rng.integers(0, 256, (72, 100, 3), np.uint8), (0, 0), 3)


@pytest.fixture
def videos(tmp_path):
    """Two videos, of which the content moves 3 pixels to the left a frame."""
    folder = tmp_path / 'UCF-101' / 'Biking'
    folder.mkdir(parents=True)
    for name in ('v_Biking_g01_c01', 'v_Biking_g01_c02'):
        writer = cv2.VideoWriter(
            str(folder / f'{name}.avi'), cv2.VideoWriter_fourcc(*'MJPG'), 25,
            (80, 64))
        if not writer.isOpened():
            pytest.skip('OpenCV has no encoder of videos')
        for i in range(5):
            writer.write(texture()[4:68, 3 * i:3 * i + 80])
        writer.release()
    return folder.parent


@pytest.fixture
def run(load_tool, monkeypatch, capsys):
    tool = load_tool('dataset_converters/flow')

    def run(*args):
        monkeypatch.setattr(sys, 'argv', ['flow.py', *map(str, args)])
        tool.main()
        return capsys.readouterr().out

    return run


def test_videos_become_frames_and_flow(run, videos, tmp_path):
    out = tmp_path / 'out'
    assert 'wrote 2 clips' in run(videos, out, '--bound', 10)
    for kind, count in (('frames', 5), ('flow/u', 4), ('flow/v', 4)):
        for name in ('v_Biking_g01_c01', 'v_Biking_g01_c02'):
            assert len(list((out / kind / name).iterdir())) == count
    clip = 'v_Biking_g01_c01'
    sample = LoadClip(
        LAYOUT, num_frames=2)(
            dict(
                img_path=str(out / 'frames' / clip),
                u_path=str(out / 'flow/u' / clip),
                v_path=str(out / 'flow/v' / clip)))
    u, v = (np.median(sample['img'][..., c]) for c in sample['flow_channels'])
    assert u == pytest.approx(127.5 * (1 - 3 / 10), abs=5)
    assert v == pytest.approx(127.5, abs=3)


def test_a_repeat_goes_on_where_it_was_broken_off(run, videos, tmp_path):
    out = tmp_path / 'out'
    run(videos, out)
    done = out / 'flow/v/v_Biking_g01_c01/frame000001.jpg'
    before = done.stat().st_mtime_ns
    # as if it had died while it wrote the second clip
    shutil.rmtree(out / 'flow/v/v_Biking_g01_c02')
    (out / 'flow/v/.v_Biking_g01_c02.partial').mkdir()
    assert 'wrote 1 clips' in run(videos, out)
    assert done.stat().st_mtime_ns == before
    assert len(list((out / 'flow/v/v_Biking_g01_c02').iterdir())) == 4
    assert not list(out.rglob('*.partial'))


def test_flow_of_frames_that_are_there(run, videos, tmp_path):
    out = tmp_path / 'out'
    run(videos, out)
    shutil.rmtree(out / 'flow')
    frame = out / 'frames/v_Biking_g01_c01/frame000001.jpg'
    before = frame.read_bytes()
    assert 'wrote 2 clips' in run(out / 'frames', out, '--method',
                                  'farneback')
    assert frame.read_bytes() == before
    assert len(list((out / 'flow/u/v_Biking_g01_c01').iterdir())) == 4


def test_frames_are_read_in_the_order_of_their_numbers(load_tool, tmp_path):
    for value in (8, 9, 10, 11):
        cv2.imwrite(
            str(tmp_path / f'frame{value}.png'),
            np.full((4, 4), value, np.uint8))
    frames = load_tool('dataset_converters/flow').read_frames(str(tmp_path))
    assert [frame[0, 0, 0] for frame in frames] == [8, 9, 10, 11]


def test_errors(run, tmp_path, capsys):
    with pytest.raises(SystemExit):
        run(tmp_path / 'gone', tmp_path / 'out')
    assert 'gone is no folder' in capsys.readouterr().err
    (tmp_path / 'v.avi').write_bytes(b'no video')
    with pytest.raises(SystemExit):
        run(tmp_path, tmp_path / 'out')
    assert 'cannot read the video' in capsys.readouterr().err
