"""The layout of stacked images."""
from itertools import permutations

import pytest
import torch

from mwam_mm.layout import (
    ModalityLayout,
    combination_name,
    in_order,
)


def test_fields_and_defaults():
    layout = ModalityLayout(
        dict(
            rgb=dict(channels=3, mean=[1, 2, 3], std=2, bgr_to_rgb=True),
            depth=dict(channels=1, scale=0.001, invalid_value=[0, 65535]),
            nir=dict(channels=2, path_key='img_path', file_channels=[3, 4])))
    assert layout.names == ('rgb', 'depth', 'nir')
    assert layout.num_channels == 6
    assert [m.slice for m in layout.values()] == [
        slice(0, 3), slice(3, 4), slice(4, 6)]
    assert layout['rgb'].mean == (1., 2., 3.)
    assert layout['rgb'].std == (2., 2., 2.)
    assert layout['depth'].mean == (0., ) and layout['depth'].std == (1., )
    assert layout['depth'].invalid_value == (0., 65535.)
    assert [m.path_key for m in layout.values()] == [
        'img_path', 'depth_path', 'img_path']
    assert layout['nir'].file_channels == (3, 4)
    assert ModalityLayout(layout)['depth'] == layout['depth']


@pytest.mark.parametrize(
    'names', list(permutations(['rgb', 'depth', 'thermal'])))
def test_the_order_is_not_that_of_the_mapping(names):
    channels = dict(rgb=3, depth=1, thermal=2)
    layout = ModalityLayout({n: dict(channels=channels[n]) for n in names})
    assert layout.names == in_order(names) == ('rgb', 'depth', 'thermal')
    assert [m.slice for m in layout.values()] == [
        slice(0, 3), slice(3, 4), slice(4, 6)]
    assert layout['rgb'].path_key == 'img_path'
    assert combination_name(layout.combinations()[0]) == 'rgb+depth+thermal'
    assert in_order(n for n in names if n != 'rgb') == ('depth', 'thermal')


def test_combinations_are_all_non_empty_subsets():
    layout = ModalityLayout({n: dict(channels=1) for n in 'abc'})
    names = [combination_name(c) for c in layout.combinations()]
    assert names == ['a+b+c', 'a+b', 'a+c', 'b+c', 'a', 'b', 'c']


@pytest.mark.parametrize('modalities,message', [
    ({}, 'empty'),
    (dict(rgb=dict(mean=0)), 'channels'),
    (dict(rgb=dict(channels=0)), 'channels'),
    (dict(rgb=dict(channels=True)), 'channels'),
    (dict(rgb=dict(channels=3, mean=[1, 2])), 'mean'),
    (dict(rgb=dict(channels=1, std=0)), 'std'),
    (dict(rgb=dict(channels=1, bgr_to_rgb=True)), 'bgr_to_rgb'),
    (dict(rgb=dict(channels=1, scale=0)), 'scale'),
    (dict(rgb=dict(channels=1, file_channels=[0, 1])), 'file_channels'),
    (dict(rgb=dict(channels=1, meen=0)), 'meen'),
    ({'rgb+d': dict(channels=1)}, 'word'),
    (dict(avg=dict(channels=1)), 'not "avg"'),
])
def test_what_does_not_fit_is_named(modalities, message):
    with pytest.raises(ValueError, match=message):
        ModalityLayout(modalities)


def test_wrong_types():
    with pytest.raises(TypeError, match='mapping'):
        ModalityLayout(['rgb'])
    with pytest.raises(TypeError, match='rgb'):
        ModalityLayout(dict(rgb=3))


def test_check_names_orders_and_refuses():
    layout = ModalityLayout({n: dict(channels=1) for n in 'abc'})
    assert layout.check_names(['c', 'a'], 'here') == ('a', 'c')
    with pytest.raises(ValueError, match="here names .'d'."):
        layout.check_names(['a', 'd'], 'here')


def test_absent_is_where_all_channels_are_0():
    layout = ModalityLayout(dict(a=dict(channels=2), b=dict(channels=1)))
    x = torch.zeros(3, 3, 4, 4)
    x[0, 1, 2, 3] = x[2, 2, 0, 0] = -1e-30
    x[2, 0] = float('nan')
    assert layout.presence(x) == dict(
        a=[True, False, True], b=[False, False, True])
    with pytest.raises(ValueError, match='2 channels'):
        layout.presence(x[:, :2])


def test_masked_holds_what_is_present():
    layout = ModalityLayout(
        dict(rgb=dict(channels=3), depth=dict(channels=1)))
    x = torch.full((3, 4, 2, 2), float('nan'))
    present = dict(rgb=[True] * 3, depth=[True, False, False])
    masked = layout.masked(x, present)
    assert x.isnan().all()
    assert masked[:, :3].isnan().all() and masked[0].isnan().all()
    assert (masked[1:, 3] == 0).all()
    assert layout.presence(masked) == present


def test_blank_is_where_all_channels_are_their_mean():
    layout = ModalityLayout(
        dict(
            rgb=dict(channels=3, mean=[1.5, 2.5, 3.5], bgr_to_rgb=True),
            depth=dict(channels=1, mean=3.3)))
    mean = torch.tensor([3.5, 2.5, 1.5, 3.3]).view(4, 1, 1)
    image = mean.expand(4, 20, 20).clone()
    assert layout['rgb'].is_blank(image) and layout['depth'].is_blank(image)
    image[1, 19, 3] += 1
    assert not layout['rgb'].is_blank(image)
    assert layout['depth'].is_blank(image)
    assert not layout['depth'].is_blank(image.byte())
