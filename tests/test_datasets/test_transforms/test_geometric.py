"""PadModalities."""
import numpy as np
import pytest
from mmcv.transforms import Pad
from mmseg.datasets.transforms import PackSegInputs

from mwam_mm.datasets.transforms import PadModalities
from mwam_mm.models import MultiModalSegDataPreprocessor
from mwam_mm.registry import TRANSFORMS

MODALITIES = dict(
    rgb=dict(
        channels=3, mean=[123.7, 116.3, 103.5], std=[58., 57., 56.],
        bgr_to_rgb=True),
    depth=dict(channels=1, mean=3.2, std=1.4),
    hha=dict(channels=3, mean=7.))


def _results(dtype=np.float32, size=(5, 6)):
    rng = np.random.default_rng(0)
    return dict(
        img=rng.integers(0, 256, size + (7, )).astype(dtype),
        gt_seg_map=rng.integers(0, 3, size).astype(np.uint8),
        img_shape=size)


@pytest.mark.parametrize('kwargs,shape', [
    (dict(size=(9, 8)), (8, 9)),
    (dict(size=(9, 5)), (5, 9)),
    (dict(size=(6, 8)), (8, 6)),
    (dict(size_divisor=4), (8, 8)),
    (dict(pad_to_square=True), (6, 6)),
    (dict(pad_to_square=True, size_divisor=4), (8, 8)),
])
def test_equals_stock_but_for_the_filling(kwargs, shape):
    results = TRANSFORMS.build(
        dict(type='mwam_mm.PadModalities', modalities=MODALITIES,
             **kwargs))(_results())
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
    np.testing.assert_array_equal(image[:5, :6], _results()['img'])
    expected = np.float32([103.5, 116.3, 123.7, 3.2, 7., 7., 7.])
    for border in (image[5:], image[:, 6:]):
        np.testing.assert_array_equal(
            border, np.broadcast_to(expected, border.shape))


def test_padding_is_zero_after_normalisation():
    packed = PackSegInputs()(
        PadModalities(MODALITIES, size=(8, 8))(_results()))
    preprocessor = MultiModalSegDataPreprocessor(MODALITIES, size=(8, 8))
    image = preprocessor(
        dict(
            inputs=[packed['inputs']],
            data_samples=[packed['data_samples']]))['inputs'][0]
    assert (image[:, 5:] == 0).all() and (image[:, :, 6:] == 0).all()
    assert (image[:, :5, :6] != 0).any()


def test_uint8_stays_and_is_rounded():
    image = PadModalities(MODALITIES, size=(8, 8))(_results(np.uint8))['img']
    assert image.dtype == np.uint8
    assert image[7, 7].tolist() == [104, 116, 124, 3, 7, 7, 7]


def test_wrong_channels():
    results = _results()
    results['img'] = results['img'][..., :6]
    with pytest.raises(ValueError, match='6 channels'):
        PadModalities(MODALITIES, size=(8, 8))(results)
