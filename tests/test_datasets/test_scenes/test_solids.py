"""Rays against independent geometry."""
import numpy as np
import pytest

from mwam_mm.datasets.scenes.solids import Solid

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
    solid = Solid(1, shape, centre, half, [], 20., rotation=axes)
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
