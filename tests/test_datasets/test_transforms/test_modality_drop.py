"""DropModality and RandomDropModality."""
from collections import Counter

import numpy as np
import pytest
from mmcv.transforms.utils import cache_random_params
from mmseg.datasets.transforms import PackSegInputs
from mmseg.structures import SegDataSample

from mwam_mm.datasets.transforms import DropModality, RandomDropModality
from mwam_mm.layout import ModalityLayout
from mwam_mm.registry import TRANSFORMS

NAMES = ('rgb', 'depth', 'thermal')


def _packed(absent=None):
    results = dict(img=np.zeros((4, 5, 5), np.uint8), img_path='a/b.png')
    if absent is not None:
        results['absent_modalities'] = absent
    return PackSegInputs(
        meta_keys=('img_path', 'absent_modalities'))(results)


def _absent(results):
    return results['data_samples'].metainfo['absent_modalities']


def _draws(transform, times, absent=None):
    """How often each combination is left present."""
    dropped = [_absent(transform(_packed(absent))) for _ in range(times)]
    return Counter(tuple(n for n in NAMES if n not in d) for d in dropped)


def test_drop():
    transform = TRANSFORMS.build(
        dict(type='mwam_mm.DropModality', modalities=['depth']))
    results = transform(_packed())
    assert _absent(results) == ('depth', )
    assert (results['inputs'] == 0).all()
    # Twice, and together with a file that is missing: a union.
    results = DropModality(['thermal', 'depth'])(results)
    assert _absent(results) == ('depth', 'thermal')
    assert _absent(DropModality(['depth'])(_packed(('rgb', )))) == ('rgb',
                                                                    'depth')


def test_drop_after_test_time_augmentation():
    samples = [SegDataSample(), SegDataSample()]
    DropModality(['depth'])(dict(data_samples=samples))
    for sample in samples:
        assert sample.metainfo['absent_modalities'] == ('depth', )


@pytest.mark.parametrize('transform', [
    DropModality(['depth']),
    RandomDropModality(NAMES),
])
def test_before_packing(transform):
    with pytest.raises(ValueError, match='after PackSegInputs'):
        transform(dict(img=np.zeros((4, 5, 4))))


@pytest.mark.parametrize('cls', [DropModality, RandomDropModality])
@pytest.mark.parametrize('modalities', ['depth', []])
def test_modalities_are_a_list(cls, modalities):
    with pytest.raises(ValueError, match='modalities'):
        cls(modalities)


def test_uniform_over_combinations():
    np.random.seed(0)
    layout = ModalityLayout({name: dict(channels=1) for name in NAMES})
    draws = _draws(RandomDropModality(layout), 3500)
    assert set(draws) == set(layout.combinations())
    # 500 expected, standard deviation 21.
    assert all(400 < count < 600 for count in draws.values()), draws


def test_weights_in_any_order():
    """MMEngine sorts the keys of the configs that it dumps."""
    weights = {'thermal+depth+rgb': 1, 'rgb': 3, 'depth': 2}
    draws = []
    for order in (weights, sorted(weights)):
        transform = RandomDropModality(NAMES, {n: weights[n] for n in order})
        np.random.seed(0)
        draws.append([_absent(transform(_packed())) for _ in range(50)])
    assert draws[0] == draws[1]
    assert set(draws[0]) == {
        (), ('depth', 'thermal'), ('rgb', 'thermal')}


def test_nothing_blank_is_kept_alone():
    """Whose channels are their mean, as those of a depth map of one hole."""
    layout = dict(
        rgb=dict(channels=3, mean=[30, 20, 10], bgr_to_rgb=True),
        depth=dict(channels=1, mean=3.3),
        thermal=dict(channels=1, mean=7))
    image = np.zeros((40, 40, 5), np.float32)
    image[:, :, :4] = 10, 20, 30, np.float32(3.3)
    np.random.seed(0)

    def kept(modalities):
        draws = Counter()
        for _ in range(400):
            results = PackSegInputs(meta_keys=('absent_modalities', ))(
                dict(img=image, absent_modalities=()))
            absent = _absent(RandomDropModality(modalities)(results))
            draws[tuple(n for n in NAMES if n not in absent)] += 1
        return draws

    counts = kept(layout)
    assert set(counts) == {
        c for c in ModalityLayout(layout).combinations() if 'thermal' in c
    }
    # 4/7 are drawn at once, 3/7 anew.
    assert all(70 < count < 130 for count in counts.values()), counts
    assert len(kept(NAMES)) == 7  # nothing is known of the means
    image[39, 39, 3] = 0
    assert set(kept(layout)) == set(counts) | {('depth', ), ('rgb', 'depth')}
    image[39, 39, 3] = np.float32(3.3)
    image[:, :, 4] = 7  # the whole sample is blank, which the model refuses
    assert len(kept(layout)) == 7


def test_what_was_drawn_is_told_from_what_is_meant():
    """The first may be taken back, where nothing else is left."""
    results = _packed()
    for transform, absent, dropped in (
            (RandomDropModality(NAMES, {'rgb+depth': 1}), ('thermal', ),
             ('thermal', )),
            (RandomDropModality(NAMES, {'rgb': 1}), ('thermal', 'depth'),
             ('thermal', 'depth')),
            (DropModality(['depth']), ('thermal', 'depth'), ('thermal', ))):
        results = transform(results)
        metainfo = results['data_samples'].metainfo
        assert metainfo['absent_modalities'] == absent
        assert metainfo['dropped_modalities'] == dropped
    results = RandomDropModality(NAMES, {'rgb': 1})(_packed(('depth', )))
    assert results['data_samples'].dropped_modalities == ('thermal', )
    assert 'dropped_modalities' not in DropModality(['depth'])(
        _packed())['data_samples']


def test_weights():
    np.random.seed(0)
    draws = _draws(
        RandomDropModality(NAMES,
                           {'rgb': 3, 'rgb+thermal': 1, 'depth': 0}), 2000)
    assert set(draws) == {('rgb', ), ('rgb', 'thermal')}
    assert 1400 < draws['rgb', ] < 1600


def test_draws_among_the_present():
    np.random.seed(0)
    draws = _draws(RandomDropModality(NAMES), 900, absent=('depth', ))
    assert set(draws) == {('rgb', ), ('thermal', ), ('rgb', 'thermal')}
    assert all(230 < count < 370 for count in draws.values()), draws
    # Weights keep their proportions.
    draws = _draws(
        RandomDropModality(NAMES, {'rgb': 3, 'thermal': 1, 'depth': 9}), 900,
        ('depth', ))
    assert set(draws) == {('rgb', ), ('thermal', )}
    assert 600 < draws['rgb', ] < 750


def test_nothing_left():
    with pytest.raises(ValueError, match="a/b.png.*'depth'"):
        RandomDropModality(NAMES, {'rgb+depth': 1})(_packed(('depth', )))
    with pytest.raises(ValueError, match='a/b.png'):
        RandomDropModality(NAMES)(_packed(NAMES))


@pytest.mark.parametrize('weights', [
    {},
    {'rgb': 0},
    {'rgb': -1, 'depth': 1},
    {'rgb': float('nan')},
    {'rgb': float('inf')},
    {'infrared': 1},
    {'depth+rgb': 1, 'rgb+depth': 1},
    {'rgb+rgb': 1, 'thermal': 0},
])
def test_bad_weights(weights):
    with pytest.raises(ValueError, match='weights'):
        RandomDropModality(NAMES, weights)


def test_seed_and_cached_randomness():
    transform = RandomDropModality(NAMES)

    def draw():
        np.random.seed(3)
        return [_absent(transform(_packed())) for _ in range(20)]

    assert draw() == draw()
    with cache_random_params(transform):
        cached = {_absent(transform(_packed())) for _ in range(20)}
    assert len(cached) == 1
    assert len(set(draw())) > 1
