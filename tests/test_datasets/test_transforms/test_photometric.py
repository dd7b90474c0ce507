"""PhotometricTransforms: one modality changes, nothing else."""
from types import SimpleNamespace

import numpy as np
import pytest
from mmcv.transforms import BaseTransform
from mmseg.datasets.transforms import AdjustGamma, PhotoMetricDistortion

from mwam_mm.datasets.transforms import PhotometricTransforms
from mwam_mm.registry import TRANSFORMS
from mwam_mm.stack import check_stack

from ...stacks import needs_classification

MODALITIES = dict(
    depth=dict(channels=2), rgb=dict(channels=3), thermal=dict(channels=2))


def _stack(dtype, seed=0):
    stack = np.random.default_rng(seed).integers(0, 256, (12, 16, 7))
    return stack.astype(dtype)


class Brighten(BaseTransform):
    """As mmdet's PhotoMetricDistortion: float32 only, may exceed 255."""

    def transform(self, results):
        assert results['img'].dtype == np.float32
        results['img'] = results['img'] + np.float32(60.4)
        return results


@pytest.mark.parametrize('dtype', [np.uint8, np.float32])
def test_equals_the_stock_transform_on_rgb(dtype):
    transform = TRANSFORMS.build(
        dict(
            type='mwam_mm.PhotometricTransforms',
            modalities=MODALITIES,
            transforms=[
                dict(type='mmseg.PhotoMetricDistortion'),
                dict(type='mmseg.AdjustGamma', gamma=2.)
            ]))
    stack = _stack(dtype)
    before = stack.copy()
    for seed in range(10):
        np.random.seed(seed)
        image = transform(dict(img=stack))['img']
        np.random.seed(seed)
        expected = AdjustGamma(2.)(PhotoMetricDistortion()(dict(
            img=_stack(np.uint8)[..., :3].copy())))['img']
        assert image.dtype == dtype and image.shape == stack.shape
        np.testing.assert_array_equal(image[..., :3], expected)
        np.testing.assert_array_equal(image[..., 3:], before[..., 3:])
    # The array given may be shared with another pipeline.
    np.testing.assert_array_equal(stack, before)


def test_float_values_are_rounded():
    stack = _stack(np.float32)
    stack[..., :3] = np.clip(stack[..., :3] + .3, 0, 255)
    seen = []

    def look(results):
        seen.append(results['img'])
        return results

    PhotometricTransforms([look], MODALITIES)(dict(img=stack))
    assert seen[0].dtype == np.uint8
    np.testing.assert_array_equal(seen[0], _stack(np.uint8)[..., :3])


@pytest.mark.parametrize('dtype', [np.uint8, np.float32])
def test_to_float32(dtype):
    stack = _stack(dtype)
    image = PhotometricTransforms([Brighten()], MODALITIES,
                                  to_float32=True)(dict(img=stack))['img']
    expected = stack[..., :3].astype(np.float32) + np.float32(60.4)
    if dtype == np.uint8:
        expected = np.minimum(np.rint(expected), 255)
    assert image.dtype == dtype
    np.testing.assert_array_equal(image[..., :3], expected)
    np.testing.assert_array_equal(image[..., 3:], stack[..., 3:])


def test_a_modality_in_the_middle():
    stack = _stack(np.uint8)
    transform = PhotometricTransforms([lambda r: dict(r, img=255 - r['img'])],
                                      MODALITIES, modality='depth')
    image = transform(dict(img=stack))['img']
    np.testing.assert_array_equal(image[..., :3], stack[..., :3])
    np.testing.assert_array_equal(image[..., 3:5], 255 - stack[..., 3:5])
    np.testing.assert_array_equal(image[..., 5:], stack[..., 5:])


@pytest.mark.parametrize('inner,named', [
    (dict(type='mmseg.RandomFlip', prob=0.), 'flip'),
    (dict(type='mmseg.Resize', scale=(8, 8)), 'shape'),
    (dict(type='mmseg.RandomCrop', crop_size=(4, 4)), 'shape'),
    (lambda r: dict(r, gt_seg_map=r['gt_seg_map'][::-1]), 'gt_seg_map'),
])
def test_geometric_transforms_are_refused(inner, named):
    labels = np.random.default_rng(0).integers(0, 9, (12, 16)).astype(np.uint8)
    results = dict(
        img=_stack(np.uint8),
        img_shape=(12, 16),
        gt_seg_map=labels,
        seg_fields=['gt_seg_map'])
    with pytest.raises(ValueError, match=f'(?s){named}.*photometric'):
        PhotometricTransforms([inner], MODALITIES)(results)


def test_pixels_that_move_alone_are_refused():
    """Nothing but the image tells of a rotation without labels."""
    rotate = dict(type='mmseg.RandomRotate', prob=1., degree=30)
    for inner in (rotate, dict(type='RandomApply', transforms=[rotate])):
        with pytest.raises(ValueError, match=r"RandomRotate.* 'rgb' from"):
            PhotometricTransforms([inner], MODALITIES)


@needs_classification
@pytest.mark.parametrize('inner', [
    dict(type='mmpretrain.Rotate', angle=10.),
    dict(type='mmpretrain.Shear', magnitude=0.2),
    dict(type='mmpretrain.Translate', magnitude=0.2),
])
def test_moving_pixels_of_mmpretrain(inner):
    check_stack('mmpretrain')
    name = inner['type'].split('.')[1]
    with pytest.raises(ValueError, match=f"{name}.* 'rgb' from"):
        PhotometricTransforms([inner], MODALITIES)


def albu(name, *bases):
    """Albumentations' transform, within its container and the wrapper that
    OpenMMLab has for it."""
    bases = tuple(type(base, (), {}) for base in bases)
    choice = SimpleNamespace(transforms=[type(name, bases, {})()])
    return type(
        'Albu', (), dict(
            transforms=[dict(type=name)],
            aug=SimpleNamespace(transforms=[choice]),
            __call__=lambda self, results: results))()


@pytest.mark.parametrize('name, base, moves', [
    ('HorizontalFlip', 'DualTransform', True),
    ('ShiftScaleRotate', 'DualTransform', True),
    ('CoarseDropout', 'DualTransform', False),
    ('RandomBrightnessContrast', 'ImageOnlyTransform', False),
])
def test_pixels_that_albumentations_moves(name, base, moves):
    if moves:
        with pytest.raises(ValueError, match=f"{name}.* 'rgb' from"):
            PhotometricTransforms([albu(name, base)], MODALITIES)
    else:
        PhotometricTransforms([albu(name, base)], MODALITIES)(
            dict(img=_stack(np.uint8)))


@pytest.mark.parametrize('value', [-.1, 255.5])
def test_values_outside_8_bit(value):
    stack = _stack(np.float32)
    stack[3, 3, 2] = value
    with pytest.raises(ValueError, match=(
            r"'rgb' has values from .*, leave \['\w+'\] out")):
        PhotometricTransforms([lambda r: r], MODALITIES)(dict(img=stack))
    stack[3, 3, 2] = 0
    stack[3, 3, 3] = value  # another modality may hold anything
    PhotometricTransforms([lambda r: r], MODALITIES)(dict(img=stack))


def test_bad_modality():
    with pytest.raises(ValueError, match='infrared'):
        PhotometricTransforms([], MODALITIES, modality='infrared')
    with pytest.raises(ValueError, match="'rgb'.*scale"):
        PhotometricTransforms([],
                              dict(rgb=dict(channels=3, scale=1 / 255)))


def test_none_is_passed_on():
    transform = PhotometricTransforms([lambda r: None], MODALITIES)
    assert transform(dict(img=_stack(np.uint8))) is None
