"""FillWithMean."""
import copy

import numpy as np
import pytest
import torch
from mmcv.transforms import Pad
from mmengine.registry import init_default_scope
from mmseg.datasets.transforms import PackSegInputs

from mwam_mm.datasets.transforms import FillWithMean
from mwam_mm.models import MultiModalSegDataPreprocessor
from mwam_mm.registry import TRANSFORMS
from tests.stacks import needs_detection

MODALITIES = dict(
    rgb=dict(
        channels=3, mean=[123.7, 116.3, 103.5], std=[58., 57., 56.],
        bgr_to_rgb=True),
    depth=dict(channels=1, mean=3.2, std=1.4, optional=True),
    hha=dict(channels=3, mean=7.))
MEAN = np.float32([103.5, 116.3, 123.7, 3.2, 7., 7., 7.])


@pytest.fixture(autouse=True)
def _scope():
    init_default_scope('mmseg')


def _results(dtype=np.float32, size=(5, 6), seed=0):
    rng = np.random.default_rng(seed)
    return dict(
        img=rng.integers(0, 256, size + (7, )).astype(dtype),
        gt_seg_map=rng.integers(0, 3, size).astype(np.uint8),
        img_shape=size)


def _pad(**kwargs):
    return FillWithMean(dict(type='Pad', **kwargs), MODALITIES)


@pytest.mark.parametrize('kwargs,shape', [
    (dict(size=(9, 8)), (8, 9)),
    (dict(size=(9, 5)), (5, 9)),
    (dict(size=(6, 8)), (8, 6)),
    (dict(size_divisor=4), (8, 8)),
    (dict(pad_to_square=True), (6, 6)),
    (dict(pad_to_square=True, size_divisor=4), (8, 8)),
])
def test_pad_equals_stock_but_for_the_filling(kwargs, shape):
    results = _pad(**kwargs)(_results())
    # Stock Pad on three channels gives the keys and the label map.
    stock_input = _results()
    stock_input['img'] = stock_input['img'][..., :3]
    stock = Pad(pad_val=dict(img=0, seg=255), **kwargs)(stock_input)
    assert results['img_shape'] == stock['img_shape'] == shape
    assert results['pad_shape'] == shape + (7, )
    for key in ('pad_fixed_size', 'pad_size_divisor'):
        assert results[key] == stock[key]
    np.testing.assert_array_equal(results['gt_seg_map'], stock['gt_seg_map'])

    image = results['img']
    np.testing.assert_allclose(
        image[:5, :6], _results()['img'], atol=1e-4)
    for border in (image[5:], image[:, 6:]):
        np.testing.assert_array_equal(
            border, np.broadcast_to(MEAN, border.shape))


def test_labels_are_filled_as_the_config_says():
    results = _pad(size=(8, 8), pad_val=dict(img=9, seg=7))(_results())
    np.testing.assert_array_equal(results['img'][7, 7], MEAN)
    assert (results['gt_seg_map'][5:] == 7).all()
    assert (results['gt_seg_map'][:, 6:] == 7).all()


def test_padding_is_zero_after_normalisation():
    packed = PackSegInputs()(_pad(size=(8, 8))(_results()))
    packed['data_samples'].set_metainfo(dict(absent_modalities=()))
    preprocessor = MultiModalSegDataPreprocessor(MODALITIES, size=(8, 8))
    image = preprocessor(
        dict(
            inputs=[packed['inputs']],
            data_samples=[packed['data_samples']]))['inputs'][0]
    assert (image[:, 5:] == 0).all() and (image[:, :, 6:] == 0).all()
    assert (image[:, :5, :6] != 0).any()


def test_uint8_stays_and_is_rounded():
    image = _pad(size=(8, 8))(_results(np.uint8))['img']
    assert image.dtype == np.uint8
    assert image[7, 7].tolist() == [104, 116, 124, 3, 7, 7, 7]
    np.testing.assert_array_equal(image[:5, :6], _results(np.uint8)['img'])


def test_wrong_channels():
    results = _results()
    results['img'] = results['img'][..., :6]
    with pytest.raises(ValueError, match='6 channels'):
        _pad(size=(8, 8))(results)


def test_it_is_for_what_fills():
    with pytest.raises(ValueError, match='RandomFlip.*without FillWithMean'):
        FillWithMean(dict(type='RandomFlip', prob=1.), MODALITIES)


def test_rotation_fills_with_the_mean():
    results = FillWithMean(
        dict(type='RandomRotate', prob=1., degree=(45., 45.)),
        MODALITIES)(_results(size=(9, 9)))
    np.testing.assert_allclose(results['img'][0, 0], MEAN)
    assert (results['img'][4, 4] != MEAN).all()


@needs_detection
def test_what_interpolation_makes_of_bytes_is_cut_off():
    """Lanczos goes beyond black and white at their edges."""
    images = []
    for dtype in (np.uint8, np.float32):
        results = _detection(size=(24, 32), dtype=dtype)
        results['img'] = ((results['img'] > 127) * 255).astype(dtype)
        np.random.seed(0)
        images.append(FillWithMean(
            dict(type='mmdet.Rotate', prob=1., interpolation='lanczos'),
            MODALITIES)(results)['img'])
    assert images[1].min() < -5 and images[1].max() > 260
    np.testing.assert_array_equal(
        images[0], np.clip(np.rint(images[1]), 0, 255))


def _boxes(*boxes):
    from mmdet.structures.bbox import HorizontalBoxes
    return HorizontalBoxes(torch.tensor(boxes).float().reshape(-1, 4))


def _detection(seed=0, size=(24, 32), boxes=((2, 3, 20, 15), ),
               dtype=np.float32):
    from mmdet.structures.mask import BitmapMasks
    results = _results(dtype, size, seed)
    del results['gt_seg_map']
    results['gt_bboxes'] = _boxes(*boxes)
    results['gt_bboxes_labels'] = np.full(len(boxes), seed)
    results['gt_ignore_flags'] = np.zeros(len(boxes), bool)
    masks = np.zeros((len(boxes), *size), np.uint8)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes):
        mask[int(y1):int(y2), int(x1):int(x2)] = 1
    results['gt_masks'] = BitmapMasks(masks, *size)
    return results


MOSAIC = dict(type='mmdet.Mosaic', img_scale=(32, 24))
MIXUP = dict(type='mmdet.MixUp', img_scale=(32, 24), flip_ratio=0.3)
AFFINE = dict(type='mmdet.RandomAffine', max_rotate_degree=30.)
STOCK = [
    (MOSAIC, dict(pad_val=0.)),
    (MIXUP, dict(pad_val=0.)),
    (dict(type='mmdet.CachedMosaic', img_scale=(32, 24)), dict(pad_val=0.)),
    (dict(type='mmdet.CachedMixUp', img_scale=(32, 24)), dict(pad_val=0.)),
    (AFFINE, dict(border_val=(0., 0., 0.))),
    (dict(type='mmdet.Expand', prob=1.), dict(mean=[0., 0., 0.])),
    (dict(type='mmdet.CutOut', n_holes=3, cutout_shape=(5, 4)), dict()),
    (dict(type='mmdet.RandomErasing', n_patches=2, ratio=0.3),
     dict(img_border_value=0)),
    (dict(type='mmdet.RandomShift', prob=1., max_shift_px=9), dict()),
    (dict(type='mmdet.Rotate', prob=1.), dict(img_border_value=0)),
    (dict(type='mmdet.ShearX', prob=1.), dict(img_border_value=0)),
    (dict(type='mmdet.TranslateY', prob=1.), dict(img_border_value=0)),
    (dict(type='mmdet.CopyPaste', selected=False), dict()),
    (dict(type='mmdet.FixShapeResize', width=40, height=20, keep_ratio=True),
     dict()),
    (dict(
        type='mmdet.RandomCenterCropPad',
        crop_size=(24, 24),
        mean=[9, 9, 9],
        std=[1, 1, 1],
        to_rgb=True,
        test_pad_mode=None),
     dict(mean=[0, 0, 0])),
]


@needs_detection
@pytest.mark.parametrize('fixed', [0, 1])
@pytest.mark.parametrize('stock, fill', STOCK, ids=lambda s: s.get('type'))
def test_equals_stock_on_each_channel(stock, fill, fixed):
    """Three channels at a time, less the mean and filled with 0."""
    name = stock['type'].split('.')[1]
    with_masks = name in ('CachedMosaic', 'CachedMixUp', 'CopyPaste',
                          'FixShapeResize')

    def samples(channels, less):
        out = []
        for seed in range(8):
            sample = _detection(seed)
            sample['img'] = sample['img'][..., channels] - less
            if not with_masks:
                del sample['gt_masks']
            out.append(sample)
        return out

    def run(transform, channels=slice(None), less=0):
        np.random.seed(fixed)
        for i in range(3 if name.startswith('Cached') else 1):
            first, *others = samples(channels, less)
            if hasattr(transform, 'get_indexes') and name != 'CachedMosaic':
                number = 3 if name == 'Mosaic' else 1
                first['mix_results'] = others[:number]
            # The images of the earlier calls are in the cache.
            if name.startswith('Cached'):
                for other in others:
                    transform(other)
            out = transform(first)
        return out, np.random.rand()

    out, after = run(
        TRANSFORMS.build(
            dict(
                type='mwam_mm.FillWithMean',
                transform=stock,
                modalities=MODALITIES)))
    for channels in ([0, 1, 2], [4, 5, 6]):
        plain = TRANSFORMS.build(dict(stock, **fill))
        if 'MixUp' in name:
            plain.pad_val = np.zeros(3, np.float32).view(_Float)
        expected, after_stock = run(plain, channels, MEAN[channels])
        np.testing.assert_allclose(
            out['img'][..., channels] - MEAN[channels],
            expected['img'],
            atol=1e-3)
    assert after == after_stock
    assert out['img'].dtype == np.float32
    assert out['img_shape'] == expected['img_shape']
    assert torch.equal(out['gt_bboxes'].tensor, expected['gt_bboxes'].tensor)
    for key in ('gt_bboxes_labels', 'gt_ignore_flags'):
        assert np.array_equal(out[key], expected[key])
    if with_masks:
        assert np.array_equal(out['gt_masks'].masks,
                              expected['gt_masks'].masks)


class _Float(np.ndarray):
    """Keeps MixUp from cutting values off to uint8."""

    def astype(self, dtype, *args, **kwargs):
        return super().astype(np.float32)


@needs_detection
def test_mixup_is_half_of_each():
    """Against arithmetic of its own, for a mixture in place."""
    mixup = FillWithMean(
        dict(
            type='mmdet.MixUp',
            img_scale=(32, 24),
            ratio_range=(1., 1.),
            flip_ratio=1.), MODALITIES)
    first, other = _detection(0), _detection(1)
    expected = (first['img'] + other['img']) / 2
    out = mixup(dict(first, mix_results=[other]))
    np.testing.assert_allclose(out['img'], expected, atol=1e-4)
    assert out['gt_bboxes_labels'].tolist() == [0, 1]
    assert 'mix_results' in out  # the wrapper of datasets takes it out


@needs_detection
def test_mosaic_keeps_uint8_and_its_inputs():
    samples = [_detection(i, dtype=np.uint8) for i in range(4)]
    before = copy.deepcopy(samples)
    out = FillWithMean(MOSAIC, MODALITIES)(
        dict(samples[0], mix_results=samples[1:]))
    assert out['img'].dtype == np.uint8 and out['img'].shape == (48, 64, 7)
    for sample, old in zip(samples, before):
        assert np.array_equal(sample['img'], old['img'])
        assert torch.equal(sample['gt_bboxes'].tensor,
                           old['gt_bboxes'].tensor)


@needs_detection
@pytest.mark.parametrize('absent, mixed', [
    (((), ('depth', ), ('depth', ), ('depth', )), ()),
    ((('depth', ), (), ('depth', ), ('depth', )), ()),
    ((('depth', ), ('depth', ), ('depth', ), ('depth', )), ('depth', )),
])
@pytest.mark.parametrize('stock', [MOSAIC, MIXUP])
def test_a_mixture_lacks_what_all_lack(stock, absent, mixed):
    def mixture(absent):
        samples = []
        for i, names in enumerate(absent):
            sample = _detection(i)
            sample['absent_modalities'] = names
            if names:
                sample['img'][..., 3] = 0  # as LoadModalities leaves it
            samples.append(sample)
        number = 2 if stock is MIXUP else 4
        np.random.seed(0)
        return FillWithMean(stock, MODALITIES)(
            dict(samples[0], mix_results=samples[1:number]))

    out, complete = mixture(absent), mixture([()] * 4)
    assert out['absent_modalities'] == mixed
    assert complete['absent_modalities'] == ()
    for others in (slice(3), slice(4, 7)):
        np.testing.assert_array_equal(
            out['img'][..., others], complete['img'][..., others])
    depth = out['img'][..., 3]
    if mixed:
        np.testing.assert_allclose(depth, 3.2, atol=1e-5)
    elif stock is MOSAIC:
        # The others' quarters hold the mean: no information, not depth 0.
        assert depth.min() >= 0 and (np.abs(depth - 3.2) < 1e-5).mean() > 0.5
    elif not absent[0]:
        np.testing.assert_allclose(
            depth, (_detection(0)['img'][..., 3] + 3.2) / 2, atol=1e-4)
    else:
        own = (complete['img'][..., 3] -
               (_detection(0)['img'][..., 3] - 3.2) / 2)
        np.testing.assert_allclose(depth, own, atol=1e-4)


@needs_detection
def test_a_mosaic_of_images_without_boxes():
    samples = [_detection(i, boxes=()) for i in range(4)]
    out = FillWithMean(MOSAIC, MODALITIES)(
        dict(samples[0], mix_results=samples[1:]))
    assert len(out['gt_bboxes']) == len(out['gt_bboxes_labels']) == 0
    assert out['img'].shape == (48, 64, 7)
