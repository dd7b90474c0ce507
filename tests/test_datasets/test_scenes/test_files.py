"""The writer's files."""
import filecmp
import json
import os

import cv2
import numpy as np
import pytest

from mwam_mm.datasets.scenes import (
    CLASSES,
    ensure_scenes,
    files,
    render_scene,
    write_scenes,
)

from ...processes import run_ranks

SMALL = dict(splits=dict(train=2, val=1), height=24, width=32)


@pytest.fixture(scope='module')
def written(tmp_path_factory):
    root = tmp_path_factory.mktemp('set') / 'scenes'
    write_scenes(str(root), seed=3, **SMALL)
    return root


def read(path):
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert image is not None, path
    return image


def test_run_lengths_decode_to_the_mask():
    rng = np.random.default_rng(0)
    masks = [rng.random((5, 7)) < p for p in (0.1, 0.5, 0.9)]
    masks += [np.zeros((4, 3), bool), np.ones((4, 3), bool)]
    for mask in masks:
        rle = files._run_lengths(mask)
        values = np.arange(len(rle['counts'])) % 2 == 1
        flat = np.repeat(values, rle['counts'])
        np.testing.assert_array_equal(
            flat.reshape(rle['size'], order='F'), mask)
        assert json.loads(json.dumps(rle)) == rle


def test_files_hold_the_scenes(written):
    for split, count in SMALL['splits'].items():
        coco = json.loads((written / f'annotations/{split}.json').read_text())
        assert [c['name'] for c in coco['categories']] == list(CLASSES[1:])
        assert len(coco['images']) == count
        for image in coco['images']:
            scene = render_scene(
                files._scene_seed(3, split, image['id']), 24, 32)
            rgb = read(written / image['file_name'])
            np.testing.assert_array_equal(rgb[..., ::-1], scene.rgb)
            for kind, key in (('depth', 'depth_path'),
                              ('thermal', 'thermal_path'), ('label',
                                                            'seg_map_path')):
                stored = read(written / image[key])
                np.testing.assert_array_equal(stored, getattr(scene, kind))
                assert stored.dtype == getattr(scene, kind).dtype
            assert (image['height'], image['width']) == (24, 32)
            mine = [
                a for a in coco['annotations'] if a['image_id'] == image['id']
            ]
            assert len(mine) == len(scene.instances) > 0
            for annotation, instance in zip(mine, scene.instances):
                assert annotation['category_id'] == instance['category']
                assert annotation['bbox'] == instance['bbox']
                assert annotation['area'] == instance['mask'].sum()
                assert annotation['iscrowd'] == 0
                assert sum(annotation['segmentation']['counts']) == 24 * 32
        ids = [a['id'] for a in coco['annotations']]
        assert len(set(ids)) == len(ids)


def test_same_arguments_same_bytes(written, tmp_path):
    write_scenes(str(tmp_path / 'again'), seed=3, **SMALL)
    names = sorted(
        str(p.relative_to(written)) for p in written.rglob('*')
        if p.is_file())
    assert len(names) == 4 * 3 + 3
    same, *different = filecmp.cmpfiles(
        written, tmp_path / 'again', names, shallow=False)
    assert sorted(same) == names and different == [[], []]


def test_a_split_does_not_depend_on_the_others(written, tmp_path):
    write_scenes(
        str(tmp_path / 'val'), seed=3, **{
            **SMALL, 'splits': dict(val=1)
        })
    assert filecmp.cmp(
        written / 'rgb/val/000000.png',
        tmp_path / 'val/rgb/val/000000.png',
        shallow=False)
    write_scenes(
        str(tmp_path / 'other'), seed=4, **{
            **SMALL, 'splits': dict(val=1)
        })
    assert not filecmp.cmp(
        written / 'rgb/val/000000.png',
        tmp_path / 'other/rgb/val/000000.png',
        shallow=False)


def test_interrupted_writing_leaves_nothing(tmp_path, monkeypatch):
    calls = []

    def interrupted(*args):
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return render_scene(*args)

    monkeypatch.setattr(files, 'render_scene', interrupted)
    root = tmp_path / 'data' / 'scenes'
    with pytest.raises(KeyboardInterrupt):
        ensure_scenes(str(root), **SMALL)
    assert list((tmp_path / 'data').iterdir()) == []
    monkeypatch.undo()
    ensure_scenes(str(root), **SMALL)
    assert len(list((root / 'rgb' / 'train').iterdir())) == 2


def test_written_once_with_progress(tmp_path, monkeypatch):
    root = tmp_path / 'scenes'
    root.mkdir()  # an empty folder is in nobody's way
    tracked, track = [], files.track_iter_progress

    def counted(tasks):
        tracked.append(len(tasks))
        return track(tasks)

    monkeypatch.setattr(files, 'track_iter_progress', counted)
    ensure_scenes(str(root), **SMALL)
    assert tracked == [3]
    monkeypatch.setattr(files, 'render_scene', None)
    ensure_scenes(str(root), **SMALL)
    assert list(tmp_path.iterdir()) == [root]


def test_written_through_a_link(tmp_path):
    (tmp_path / 'disk').mkdir()
    (tmp_path / 'scenes').symlink_to(tmp_path / 'disk')
    ensure_scenes(str(tmp_path / 'scenes'), **SMALL)
    assert (tmp_path / 'scenes').is_symlink()
    assert (tmp_path / 'disk' / 'scenes.json').is_file()


@pytest.mark.parametrize(
    'change', [dict(seed=1), dict(width=40),
               dict(splits=dict(train=3, val=1))])
def test_other_settings_are_an_error(written, change):
    wanted = {**SMALL, 'seed': 3, **change}
    with pytest.raises(RuntimeError) as error:
        ensure_scenes(str(written), **wanted)
    message = str(error.value)
    assert str(written) in message and 'Delete' in message
    assert f'{list(change)[0]}=' in message


def test_another_version_is_an_error(written, monkeypatch):
    monkeypatch.setattr(files, '_VERSION', 99)
    with pytest.raises(RuntimeError, match='version=1 where 99'):
        ensure_scenes(str(written), seed=3, **SMALL)


def test_foreign_folder_is_left_alone(tmp_path):
    (tmp_path / 'thesis.tex').write_text('precious')
    with pytest.raises(FileExistsError, match='scenes.json'):
        ensure_scenes(str(tmp_path), **SMALL)
    with pytest.raises(FileExistsError, match='delete'):
        write_scenes(str(tmp_path), **SMALL)
    with pytest.raises(FileExistsError):
        ensure_scenes(str(tmp_path / 'thesis.tex'), **SMALL)
    assert [p.name for p in tmp_path.iterdir()] == ['thesis.tex']
    assert (tmp_path / 'thesis.tex').read_text() == 'precious'


def test_a_faster_job_wins(tmp_path, monkeypatch):
    root = str(tmp_path / 'scenes')
    write_files = files._write_files

    def overtaken(*args):
        write_files(*args)
        monkeypatch.undo()
        write_scenes(root, **SMALL)

    monkeypatch.setattr(files, '_write_files', overtaken)
    ensure_scenes(root, **SMALL)
    assert os.listdir(tmp_path) == ['scenes']


def _one_rank(rank, folder):
    real = files.write_scenes

    def recorded(*args, **kwargs):
        with open(f'{folder}/writers', 'a') as f:
            f.write(f'{rank} ')
        real(*args, **kwargs)

    files.write_scenes = recorded
    ensure_scenes(f'{folder}/scenes', **SMALL)
    assert os.path.isfile(f'{folder}/scenes/scenes.json')

    def broken(*args, **kwargs):
        raise OSError('disk full')

    files.write_scenes = broken
    with pytest.raises((OSError, RuntimeError), match='disk full'):
        ensure_scenes(f'{folder}/more', **SMALL)


def test_rank_0_writes_and_all_hear_of_it(tmp_path):
    run_ranks(_one_rank, str(tmp_path))
    assert (tmp_path / 'writers').read_text() == '0 '
