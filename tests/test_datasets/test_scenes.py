"""The renderer against independent geometry, and the writer's files."""
import filecmp
import json
import os
from collections import Counter

import cv2
import numpy as np
import pytest
import torch.multiprocessing as mp
from torch import distributed

from mwam_mm.datasets import scenes
from mwam_mm.datasets.scenes import (
    CLASSES,
    PALETTE,
    ensure_scenes,
    render_scene,
    write_scenes,
)

SMALL = dict(splits=dict(train=2, val=1), height=24, width=32)
KINDS = ('rgb', 'depth', 'thermal', 'label')


@pytest.fixture(scope='module')
def rendered():
    return [render_scene(seed) for seed in range(16)]


@pytest.fixture(scope='module')
def written(tmp_path_factory):
    root = tmp_path_factory.mktemp('set') / 'scenes'
    write_scenes(str(root), seed=3, **SMALL)
    return root


def read(path):
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert image is not None, path
    return image


def of_class(rendered, name, kind):
    """All values of ``kind`` where the label is ``name``."""
    return np.concatenate([
        getattr(s, kind)[s.label == CLASSES.index(name)] for s in rendered
    ]).astype(float)


# -- the renderer


def test_scene_is_a_function_of_the_seed(rendered):
    np.random.seed(123)
    again = render_scene(0)
    for kind in KINDS:
        np.testing.assert_array_equal(
            getattr(again, kind), getattr(rendered[0], kind))
        assert (getattr(rendered[0], kind) != getattr(rendered[1], kind)).any()
    assert render_scene(0, 30, 40).rgb.shape == (30, 40, 3)


def test_formats(rendered):
    for scene in rendered:
        assert scene.rgb.shape == (120, 160, 3)
        assert {scene.rgb.dtype, scene.thermal.dtype,
                scene.label.dtype} == {np.dtype(np.uint8)}
        assert scene.depth.dtype == np.uint16
        for kind in KINDS[1:]:
            assert getattr(scene, kind).shape == (120, 160)
    assert len(PALETTE) == len(CLASSES)
    assert len({tuple(colour) for colour in PALETTE}) == len(CLASSES)


def test_instances_partition_the_foreground(rendered):
    for scene in rendered:
        covered = np.zeros(scene.label.shape, int)
        for instance in scene.instances:
            mask = instance['mask']
            covered += mask
            assert (scene.label[mask] == instance['category']).all()
            x, y, w, h = instance['bbox']
            rows, columns = np.nonzero(mask)
            assert (x, x + w - 1) == (columns.min(), columns.max())
            assert (y, y + h - 1) == (rows.min(), rows.max())
        np.testing.assert_array_equal(covered, scene.label > 0)


def test_scenes_are_varied_and_full(rendered):
    counts = [len(scene.instances) for scene in rendered]
    assert min(counts) >= 2 and max(counts) <= 8 and np.mean(counts) > 4
    seen = Counter(i['category'] for s in rendered for i in s.instances)
    assert set(seen) == set(range(1, len(CLASSES)))
    share = np.mean([scene.label > 0 for scene in rendered])
    assert 0.1 < share < 0.4


INSIDE = dict(
    box=lambda x, y, z: np.maximum(np.maximum(abs(x), abs(y)), abs(z)) <= 1,
    ball=lambda x, y, z: x**2 + y**2 + z**2 <= 1,
    cylinder=lambda x, y, z: (x**2 + y**2 <= 1) & (abs(z) <= 1),
    cone=lambda x, y, z: (np.hypot(x, y) <= (1 - z) / 2) & (abs(z) <= 1))


@pytest.mark.parametrize('shape', INSIDE)
def test_rays_stop_where_marching_enters_the_solid(shape):
    rng = np.random.default_rng(5)
    centre, half = np.array([0.3, 3., 0.8]), np.array([0.6, 0.6, 0.9])
    axes = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    solid = scenes._Solid(1, shape, centre, half, [], 20., rotation=axes)
    origins = centre + rng.normal(size=(400, 3)) * 0.3 + [0, -3, 0]
    aims = centre + rng.uniform(-1.2, 1.2, (400, 3))
    t = solid.hit(origins, aims - origins)

    steps = np.linspace(0, 2, 4001)
    points = origins[:, None] + steps[:, None] * (aims - origins)[:, None]
    local = np.einsum('nsi,ij->nsj', points - centre, axes) / half
    inside = INSIDE[shape](*np.moveaxis(local, -1, 0))
    entered = inside.any(1)
    assert 50 < entered.sum() < 350
    # A ray may graze the solid between two steps, and enter after the last.
    assert (np.isfinite(t) != entered).sum() <= 4
    both = entered & np.isfinite(t)
    expected = steps[inside.argmax(1)]
    np.testing.assert_allclose(t[both], expected[both], atol=2 / 4000 + 1e-9)

    # Out of the solid, out of its surface.
    hit = (origins + t[:, None] * (aims - origins))[both]
    solid.textures = [lambda u, v: np.zeros((len(u), 3))]
    normals, _ = solid.surface(hit)
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1)
    for sign, is_inside in ((1, False), (-1, True)):
        near = (hit + sign * 1e-4 * normals - centre) @ axes / half
        agree = INSIDE[shape](*near.T) == is_inside
        assert agree.mean() > 0.99


def test_depth_is_metric_along_the_optical_axis(rendered):
    # The floor before the camera is a plane only if depth is z, and its
    # distance is the camera's height only if the unit is the millimetre.
    heights = []
    for scene in rendered:
        v, u = np.nonzero((scene.label == 0) & (scene.depth > 0))
        near = (v > 100) & (abs(u - 79.5) < 50)
        if near.sum() < 400:
            continue
        u, v = u[near], v[near]
        z = scene.depth[v, u] / 1000
        focal = 0.8 * 160
        points = np.stack([(u - 79.5) / focal * z, (v - 59.5) / focal * z, z],
                          1)
        plane, *_ = np.linalg.lstsq(points, np.ones(len(z)), rcond=None)
        height = 1 / np.linalg.norm(plane)
        residual = points @ plane * height - height
        assert np.median(abs(residual)) < 0.02
        heights.append(height)
    assert len(heights) > 5
    assert 1 < min(heights) < max(heights) < 1.9


def test_depth_steps_grow_with_the_squared_depth(rendered):
    levels = np.unique(np.concatenate([s.depth.ravel() for s in rendered]))
    levels = levels[levels > 0] / 1000
    near, far = (np.median(np.diff(levels[abs(levels - z) < 0.4]))
                 for z in (2., 5.))
    assert far / near == pytest.approx(2.5**2, rel=0.2)


def test_depth_has_holes_where_the_projector_is_hidden(rendered):
    share = np.mean([scene.depth == 0 for scene in rendered])
    assert 0.005 < share < 0.15
    # The projector is to the right: shadows fall to the left of things.
    left = right = 0
    for scene in rendered:
        hole = scene.depth == 0
        for instance in scene.instances:
            if CLASSES[instance['category']] in ('crate', 'cabinet'):
                mask = instance['mask']
                behind = scene.label == 0
                left += (hole & behind & np.roll(mask, -2, 1)).sum()
                right += (hole & behind & np.roll(mask, 2, 1)).sum()
    assert left > 2 * right


def test_thermal_separates_what_it_should(rendered):
    celsius = {c: of_class(rendered, c, 'thermal') / 4 for c in CLASSES}
    room = np.median(celsius['background'])
    assert 15 < room < 28
    assert np.median(celsius['heater']) > room + 12
    assert np.median(celsius['pipe']) > room + 3
    assert np.median(celsius['crate']) < room
    # Overlapping on purpose.
    for one, other in (('ball', 'cabinet'), ('cone', 'crate')):
        low, high = np.quantile(celsius[one], [0.1, 0.9])
        between = (celsius[other] > low) & (celsius[other] < high)
        assert between.mean() > 0.4


def test_poster_shows_in_rgb_alone(rendered):
    def step(image, poster):
        """Difference between both sides of a poster's upper edge."""
        edge = poster[3:] & ~poster[:-3]
        clear = edge & (scene.label[:-3] == 0)
        inside, outside = image[3:][clear], image[:-3][clear]
        valid = (inside > 0) & (outside > 0)
        return np.abs(inside - outside)[valid]

    steps = dict(rgb=[], depth=[], thermal=[])
    for scene in rendered:
        poster = scene.label == CLASSES.index('poster')
        for kind in steps:
            image = getattr(scene, kind).astype(float)
            image = image.mean(2) if kind == 'rgb' else image
            steps[kind].append(step(image, poster))
    steps = {kind: np.concatenate(found) for kind, found in steps.items()}
    assert len(steps['rgb']) > 100
    assert np.median(steps['rgb']) > 15
    assert np.median(steps['depth']) < 150
    assert np.median(steps['thermal']) / 4 < 0.5


# -- the files


def test_run_lengths_decode_to_the_mask():
    rng = np.random.default_rng(0)
    masks = [rng.random((5, 7)) < p for p in (0.1, 0.5, 0.9)]
    masks += [np.zeros((4, 3), bool), np.ones((4, 3), bool)]
    for mask in masks:
        rle = scenes._run_lengths(mask)
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
                scenes._scene_seed(3, split, image['id']), 24, 32)
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

    monkeypatch.setattr(scenes, 'render_scene', interrupted)
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
    tracked, track = [], scenes.track_iter_progress

    def counted(tasks):
        tracked.append(len(tasks))
        return track(tasks)

    monkeypatch.setattr(scenes, 'track_iter_progress', counted)
    ensure_scenes(str(root), **SMALL)
    assert tracked == [3]
    monkeypatch.setattr(scenes, 'render_scene', None)
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
    monkeypatch.setattr(scenes, '_VERSION', 99)
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
    write_files = scenes._write_files

    def overtaken(*args):
        write_files(*args)
        monkeypatch.undo()
        write_scenes(root, **SMALL)

    monkeypatch.setattr(scenes, '_write_files', overtaken)
    ensure_scenes(root, **SMALL)
    assert os.listdir(tmp_path) == ['scenes']


def _one_rank(rank, folder):
    distributed.init_process_group(
        'gloo', f'file://{folder}/init', rank=rank, world_size=2)
    real = scenes.write_scenes

    def recorded(*args):
        with open(f'{folder}/writers', 'a') as f:
            f.write(f'{rank} ')
        real(*args)

    scenes.write_scenes = recorded
    ensure_scenes(f'{folder}/scenes', **SMALL)
    assert os.path.isfile(f'{folder}/scenes/scenes.json')

    def broken(*args):
        raise OSError('disk full')

    scenes.write_scenes = broken
    with pytest.raises((OSError, RuntimeError), match='disk full'):
        ensure_scenes(f'{folder}/more', **SMALL)
    distributed.destroy_process_group()


@pytest.mark.skipif(
    not distributed.is_available(), reason='torch without distributed')
def test_rank_0_writes_and_all_hear_of_it(tmp_path):
    mp.spawn(_one_rank, (str(tmp_path), ), nprocs=2)
    assert (tmp_path / 'writers').read_text() == '0 '
