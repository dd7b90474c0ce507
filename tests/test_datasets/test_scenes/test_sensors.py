"""The sensors against independent geometry and temperatures."""
import numpy as np
import pytest

from mwam_mm.datasets.scenes import CLASSES


def of_class(rendered, name, kind):
    """All values of ``kind`` where the label is ``name``."""
    return np.concatenate([
        getattr(s, kind)[s.label == CLASSES.index(name)] for s in rendered
    ]).astype(float)


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
