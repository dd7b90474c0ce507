"""Faults of a sensor, each against a computation in plain loops."""
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.structures import BaseDataElement

from mwam_mm.evaluation import build_faults
from mwam_mm.layout import ModalityLayout, with_presence
from mwam_mm.registry import FAULTS

LAYOUT = ModalityLayout(
    dict(
        rgb=dict(channels=3, mean=[10., 20., 30.], std=[2., 4., 5.]),
        depth=dict(channels=1, mean=3., std=2., invalid_value=0)))
RGB, DEPTH = slice(0, 3), slice(3, 4)
SIZE = (6, 10)  # of the image, which is padded to 8 x 12
PLACES = [7, 8]


def batch():
    x = torch.zeros(2, 4, 8, 12)
    x[..., :6, :10] = torch.randn(
        2, 4, *SIZE, generator=torch.Generator().manual_seed(0))
    samples = [BaseDataElement(metainfo=dict(img_shape=SIZE))] * 2
    return x, samples


def apply(cfg, prepare=None):
    """What a fault makes of the batch; all else stays as it is."""
    fault = FAULTS.build(cfg)
    fault.prepare(prepare)
    x, samples = batch()
    before = x.clone()
    changed = fault(x, samples, PLACES, LAYOUT)
    assert torch.equal(x, before)
    kept = torch.ones_like(x, dtype=torch.bool)
    kept[:, LAYOUT[cfg['modality']].slice, :6, :10] = False
    assert torch.equal(changed[kept], x[kept])
    return changed


def draws(place, seed=0):
    """The generator of a sample."""
    state, = np.random.SeedSequence((seed, place)).generate_state(
        1, np.uint64)
    return torch.Generator().manual_seed(int(state) // 2)


@pytest.mark.parametrize('share', [0.25, 0.5, 0.75])
def test_missing_elements(share):
    found = apply(
        dict(type='mwam_mm.MissingElements', modality='rgb', share=share))
    expected, _ = batch()
    lost = 0
    for i, place in enumerate(PLACES):
        u = torch.rand(3, *SIZE, generator=draws(place))
        for c in range(3):
            for y in range(6):
                for x in range(10):
                    if u[c, y, x] < share:
                        expected[i, c, y, x] = 0
                        lost += 1
    assert torch.equal(found, expected)
    assert lost / 360 == pytest.approx(share, abs=0.08)


@pytest.mark.parametrize('density', [0.05, 0.1, 0.2])
def test_salt_and_pepper(density):
    found = apply(
        dict(type='mwam_mm.SaltAndPepper', modality='rgb', density=density))
    original, _ = batch()
    expected = original.clone()
    salt = pepper = 0
    for i, place in enumerate(PLACES):
        u = torch.rand(*SIZE, generator=draws(place))
        for y in range(6):
            for x in range(10):
                for c in range(3):
                    image = original[i, c, :6, :10]
                    if u[y, x] < density / 2:
                        expected[i, c, y, x] = min(image.flatten().tolist())
                        pepper += 1
                    elif u[y, x] >= 1 - density / 2:
                        expected[i, c, y, x] = max(image.flatten().tolist())
                        salt += 1
    assert torch.equal(found, expected)
    assert salt and pepper and not torch.equal(found, original)


@pytest.mark.parametrize('sigma', [0.1, 0.2, 0.5])
def test_gaussian_noise(sigma):
    found = apply(
        dict(type='mwam_mm.GaussianNoise', modality='depth', sigma=sigma))
    expected, _ = batch()
    for i, place in enumerate(PLACES):
        noise = torch.randn(1, *SIZE, generator=draws(place))
        for y in range(6):
            for x in range(10):
                expected[i, 3, y, x] += sigma * noise[0, y, x]
    torch.testing.assert_close(found, expected)
    noise = (found - batch()[0])[:, 3, :6, :10]
    assert noise.std().item() == pytest.approx(sigma, rel=0.2)


def test_frozen_frame():
    frame = torch.arange(4 * 60.).reshape(4, *SIZE)
    found = apply(
        dict(type='mwam_mm.FrozenFrame', modality='rgb', frame=5),
        {5: (frame, [])}.__getitem__)
    expected, _ = batch()
    for i in range(2):
        for c in range(3):
            for y in range(6):
                for x in range(10):
                    expected[i, c, y, x] = frame[c, y, x]
    assert torch.equal(found, expected)


def test_frozen_frame_of_another_size():
    frame = torch.full((4, 3, 20), 7.)
    found = apply(
        dict(type='mwam_mm.FrozenFrame', modality='depth'),
        lambda index: (frame, []))
    assert torch.equal(found[:, 3, :6, :10], torch.full((2, *SIZE), 7.))


def test_frozen_at_a_frame_without_the_modality():
    fault = FAULTS.build(
        dict(type='mwam_mm.FrozenFrame', modality='depth', frame=2))
    with pytest.raises(ValueError, match='sample 2 of the dataset, which lac'):
        fault.prepare(lambda index: (torch.zeros(4, *SIZE), ['depth']))


def test_frozen_at_the_first_frame_that_has_the_modality():
    frames = [(torch.full((4, *SIZE), float(i)), absent)
              for i, absent in enumerate([['depth'], ['depth'], ['rgb'], []])]
    frozen = dict(type='mwam_mm.FrozenFrame', modality='depth')
    found = apply(frozen, frames.__getitem__)
    assert torch.equal(found[:, 3, :6, :10], torch.full((2, *SIZE), 2.))
    with pytest.raises(ValueError, match='none of the 2 samples'):
        FAULTS.build(frozen).prepare(frames[:2].__getitem__)


@pytest.mark.parametrize('dx, dy', [(4, 0), (-3, 0), (2, -1), (0, 2),
                                    (11, 1)])
def test_shift(dx, dy):
    found = apply(dict(type='mwam_mm.Shift', modality='rgb', x=dx, y=dy))
    original, _ = batch()
    expected = original.clone()
    for i in range(2):
        for c in range(3):
            for y in range(6):
                for x in range(10):
                    inside = 0 <= y - dy < 6 and 0 <= x - dx < 10
                    expected[i, c, y, x] = (
                        original[i, c, y - dy, x - dx] if inside else 0)
    assert torch.equal(found, expected)


@pytest.mark.parametrize('name', ['rgb', 'depth'])
def test_stripe(name):
    found = apply(dict(type='mwam_mm.Stripe', modality=name, share=0.5))
    expected, _ = batch()
    # A 0 in the file: black, or of depth no measurement.
    black = dict(rgb=[(0 - 10) / 2, (0 - 20) / 4, (0 - 30) / 5], depth=[0.])
    modality = LAYOUT[name]
    for i, place in enumerate(PLACES):
        top = torch.randint(4, (1, ), generator=draws(place)).item()
        for c, value in enumerate(black[name]):
            for y in range(top, top + 3):
                for x in range(10):
                    expected[i, modality.start + c, y, x] = value
    torch.testing.assert_close(found, expected)


def test_what_is_drawn_depends_on_seed_and_place_alone():
    x, samples = batch()

    def noise(places, seed=0, cut=slice(None)):
        fault = FAULTS.build(
            dict(type='mwam_mm.GaussianNoise', modality='rgb', sigma=1,
                 seed=seed))
        part = x[cut]
        return fault(part, samples[cut], places, LAYOUT) - part

    both = noise([7, 8])
    assert torch.equal(noise([8], cut=slice(1, 2))[0], both[1])
    assert not torch.equal(noise([7, 9])[1], both[1])
    assert not torch.equal(noise([7, 8], seed=1), both)


def test_a_sample_without_the_modality_stays_as_it_is():
    x, samples = batch()
    x[1, DEPTH] = 0
    presence = dict(rgb=[True, True], depth=[True, False])
    fault = FAULTS.build(
        dict(type='mwam_mm.GaussianNoise', modality='depth', sigma=1))
    changed = fault(with_presence(x, presence), samples, PLACES, LAYOUT)
    assert torch.equal(changed[1], x[1])
    assert not torch.equal(changed[0], x[0])
    assert LAYOUT.presence(changed) == presence


def test_a_modality_that_is_all_zero_stays_present():
    x, samples = batch()
    fault = FAULTS.build(
        dict(type='mwam_mm.MissingElements', modality='depth', share=1))
    changed = fault(x, samples, PLACES, LAYOUT)
    assert not changed[:, DEPTH].any()
    assert LAYOUT.presence(changed)['depth'] == [True, True]


def test_all_faults():
    names = [fault.name for fault in build_faults('all', LAYOUT, 'faults')]
    degrees = [
        'missing_elements_0.25', 'missing_elements_0.5',
        'missing_elements_0.75', 'salt_and_pepper_0.05',
        'salt_and_pepper_0.1', 'salt_and_pepper_0.2', 'gaussian_noise_0.1',
        'gaussian_noise_0.2', 'gaussian_noise_0.5', 'frozen_frame',
        'shift_4_0', 'stripe_0.25'
    ]
    assert names == [f'{m}.{d}' for m in ('rgb', 'depth') for d in degrees]


@pytest.mark.parametrize('faults, error, message', [
    ('some', TypeError, "faults must be 'all' or a list"),
    (dict(type='mwam_mm.Stripe', modality='rgb'), TypeError, 'or a list'),
    ([dict(type='mwam_mm.Stripe', modality='dpeth')], ValueError,
     r"faults\[0\].modality names \['dpeth'\]"),
    ([dict(type='mwam_mm.Stripe', modality='rgb')] * 2, ValueError,
     r"faults\[1\] repeats the row 'rgb.stripe_0.25'"),
    ([dict(type='mwam_mm.Shift', modality='rgb')], ValueError,
     'moves nothing'),
    ([dict(type='mwam_mm.Stripe', modality='rgb', share=25)], ValueError,
     'Stripe.share must be above 0 and at most 1'),
    ([dict(type='mwam_mm.GaussianNoise', modality='rgb', sigma=-1)],
     ValueError, 'GaussianNoise.sigma must be positive'),
])
def test_errors(faults, error, message):
    with pytest.raises(error, match=message):
        build_faults(faults, LAYOUT, 'faults')


def test_examples_of_the_docs():
    text = (Path(__file__).resolve().parents[2] / 'docs/faults.md').read_text()
    config, own = re.findall(r'```python\n(.*?)```', text, re.S)
    values = {}
    exec(config, values)
    faults = build_faults(values['test_cfg']['faults'], LAYOUT, 'faults')
    assert [type(f).__name__ for f in faults] == [
        'MissingElements', 'SaltAndPepper', 'GaussianNoise', 'FrozenFrame',
        'Shift', 'Stripe'
    ]
    assert all(f'`{type(f).__name__}(' in text for f in faults)
    exec(own, values)
    fault = values['DeadRows']('rgb')
    assert fault.name == 'rgb.dead_rows'
    x, samples = batch()
    changed = fault(x, samples, PLACES, LAYOUT)
    assert not changed[:, RGB, ::2].any()
    assert torch.equal(changed[:, :, 1::2], x[:, :, 1::2])
