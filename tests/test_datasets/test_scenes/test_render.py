"""What a rendered scene holds."""
from collections import Counter

import numpy as np

from mwam_mm.datasets.scenes import CLASSES, PALETTE, render_scene

KINDS = ('rgb', 'depth', 'thermal', 'label')


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
