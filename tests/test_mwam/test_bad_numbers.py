"""Whatever comes in, K stays finite and in its range."""
import hypothesis.strategies as st
import pytest
import torch
from hypothesis import HealthCheck, given, settings

from mwam_mm.mwam import MWAM

EXTREMES = (0., 1., -1., 1e-45, 1e-30, 1e-6, 1e6, 6e4, 1e30, 3e38, 1e300,
            float('inf'), float('-inf'), float('nan'))
DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def assert_in_range(weights, alpha=1.5, beta=1.):
    assert weights.dtype == torch.float32
    assert weights.isfinite().all()
    # K itself lies between; float32 may round it to the ends.
    assert (weights >= alpha - beta).all() and (weights <= alpha).all()


@st.composite
def images(draw, channels, size, dtype):
    """A batch of one modality: noise of any scale, with what breaks sums."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    x = torch.randn(
        draw(st.integers(1, 3)), channels, *size, generator=generator,
        dtype=torch.float64)
    x = x * draw(st.sampled_from(EXTREMES)) + draw(st.sampled_from(EXTREMES))
    if draw(st.booleans()):  # a single pixel
        x[0, 0, 0, 0] = draw(st.sampled_from(EXTREMES))
    return x.to(dtype)


@st.composite
def runs(draw):
    """Arguments of MWAM and a few batches."""
    names = 'abcd'[:draw(st.integers(1, 4))]
    alpha = draw(st.floats(0., 4.))
    patch = draw(st.sampled_from([2, 4, 8]))
    block = draw(st.integers(1, patch))
    preset = draw(st.sampled_from(['paper', 'reference']))
    metrics = ['ratio', 'low', 'sum', 'weighted_sum']
    if preset == 'paper' and block > 1:
        metrics.append('robust')
    arguments = dict(
        modalities=tuple(names),
        patch_size=patch,
        block_size=block,
        metric=draw(st.sampled_from(metrics)),
        interval=draw(st.integers(1, 2)),
        flip=draw(st.sampled_from(['block', 'map'])),
        momentum=draw(st.sampled_from([0., 0.5, 0.999])),
        preset=preset,
        alpha=alpha,
        beta=draw(st.floats(0., alpha)),
        lam=draw(st.sampled_from([0., 4., 6., 1e3])),
        gamma=draw(st.sampled_from([0., 0.7, 100.])))
    size = tuple(draw(st.integers(patch, 2 * patch + 3)) for _ in range(2))
    dtype = draw(st.sampled_from(DTYPES))
    batches = []
    for _ in range(draw(st.integers(1, 3))):
        batch = {}
        for i, name in enumerate(names):
            if draw(st.booleans()):  # else absent from the whole batch
                x = draw(images(1 + 2 * (i == 0), size, dtype))
                present = draw(
                    st.none() | st.lists(
                        st.booleans(), min_size=len(x), max_size=len(x)))
                batch[name] = x, present
        batches.append(batch)
    return arguments, batches


# Not for some time, which would depend on the machine.
@settings(
    max_examples=500,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck))
@given(runs())
def test_fuzz(run):
    arguments, batches = run
    mwam = MWAM(**arguments)
    for batch in batches:
        weights = mwam.update({n: x for n, (x, _) in batch.items()},
                              {n: present for n, (_, present) in batch.items()
                               if present is not None})
        seen = ~mwam.frm.isnan()
        assert (weights[~seen] == 1).all()
        if arguments['preset'] == 'reference':
            seen = seen & (weights != 1)  # as on the step that first sees it
        assert_in_range(weights[seen], arguments['alpha'] + 1e-6,
                        arguments['beta'] + 2e-6)
        assert not mwam.frm.isinf().any()


def images_of(scale, size=16):
    generator = torch.Generator().manual_seed(0)
    return scale * torch.randn(2, 1, size, size, generator=generator)


@pytest.mark.parametrize('bad', [float('nan'), float('inf')])
@pytest.mark.parametrize('preset', ['paper', 'reference'])
def test_bad_pixels(preset, bad):
    """They count as a batch that lacks the modality, and are noted."""
    mwam = MWAM(('rgb', 'depth'), preset=preset)
    for _ in range(2):
        before = mwam.update(dict(rgb=images_of(1), depth=images_of(3) + 5))
    bank = mwam.frm.clone()
    depth = images_of(3) + 5
    depth[1, 0, 3, 3] = bad
    depth[1, 0, 4, 4] = -bad
    weights = mwam.update(dict(rgb=images_of(1), depth=depth))
    assert_in_range(weights)
    assert mwam.frm[1] == bank[1]
    assert mwam.abnormal.tolist() == [False, True]
    after = mwam.update(dict(rgb=images_of(1), depth=images_of(3) + 5))
    assert_in_range(after)
    if preset == 'paper':
        torch.testing.assert_close(weights, before)
        torch.testing.assert_close(after, before)


def test_constant_images():
    mwam = MWAM(('rgb', 'depth'))
    weights = mwam.update(
        dict(rgb=images_of(1), depth=torch.full((2, 1, 16, 16), 0.5)))
    assert_in_range(weights)
    assert weights[0] > weights[1]
    weights = MWAM(('rgb', 'depth')).update(
        dict(rgb=torch.ones(2, 3, 16, 16), depth=-torch.ones(2, 1, 16, 16)))
    torch.testing.assert_close(weights[0], weights[1])


def test_batches_without_anything():
    mwam = MWAM(('rgb', 'depth'))
    blank = torch.zeros(2, 1, 16, 16)
    assert mwam.update(dict(rgb=blank, depth=blank)).tolist() == [1, 1]
    assert mwam.update({}).tolist() == [1, 1]
    before = mwam.update(dict(rgb=images_of(1), depth=images_of(1) + 1))
    assert torch.equal(mwam.update(dict(rgb=blank, depth=blank)), before)
    assert torch.equal(mwam.update({}), before)
    assert not mwam.abnormal.any()


def test_a_modality_that_comes_after_a_thousand_steps():
    mwam = MWAM(('rgb', 'depth'))
    rgb, blank = images_of(1), torch.zeros(2, 1, 16, 16)
    for _ in range(1000):
        weights = mwam.update(dict(rgb=rgb, depth=blank))
        assert weights[1] == 1
    late = mwam.update(dict(rgb=rgb, depth=images_of(3) + 5))
    first = MWAM(('rgb', 'depth')).update(
        dict(rgb=rgb, depth=images_of(3) + 5))
    torch.testing.assert_close(late, first)


@pytest.mark.parametrize('count', [2, 3, 12])
@pytest.mark.parametrize('preset', ['paper', 'reference'])
def test_frm_over_twelve_orders_of_magnitude(preset, count):
    names = [f'm{i}' for i in range(count)]
    mwam = MWAM(names, metric='low', preset=preset)
    for _ in range(3):
        weights = mwam.update({
            name: images_of(10.**(12 * i / (count - 1) - 6))
            for i, name in enumerate(names)
        })
    assert mwam.frm.max() / mwam.frm.min() > 0.9e12
    assert_in_range(weights)
    assert (weights.diff() <= 0).all() and weights[0] > weights[-1]
