"""check_pipeline, and stock transforms on stacked images."""
import cv2
import mmcv
import numpy as np
import pytest
from mmcv.transforms import BaseTransform
from mmengine.dataset import Compose
from mmengine.registry import init_default_scope

from mwam_mm.datasets.transforms import (
    check_pipeline,
    keep_absent,
    pack_paths,
)

CHANNELS = {
    4: dict(rgb=dict(channels=3), depth=dict(channels=1)),
    5: dict(
        rgb=dict(channels=3),
        depth=dict(channels=1),
        thermal=dict(channels=1)),
    7: dict(
        rgb=dict(channels=3), depth=dict(channels=1), hha=dict(channels=3)),
}


@pytest.fixture(autouse=True)
def _scope():
    init_default_scope('mmseg')


def _load(channels=4):
    return dict(type='mwam_mm.LoadModalities', modalities=CHANNELS[channels])


def _check(*transforms):
    check_pipeline(Compose(list(transforms)))


STOCK = [
    dict(type='PhotoMetricDistortion'),
    dict(type='CLAHE'),
    dict(type='AdjustGamma'),
    dict(type='Rerange'),
    dict(type='RGB2Gray'),
    dict(type='RandomGrayscale'),
]


@pytest.mark.parametrize('stock', STOCK, ids=lambda s: s['type'])
def test_photometric_is_refused(stock):
    with pytest.raises(
            ValueError,
            match=f'{stock["type"]}.*mwam_mm.PhotometricTransforms'):
        _check(_load(), stock)
    _check(dict(type='LoadImageFromFile'), stock)
    _check(
        _load(),
        dict(
            type='mwam_mm.PhotometricTransforms',
            modalities=CHANNELS[4],
            transforms=[stock]))


FLIP = dict(type='RandomFlip', prob=1.)


@pytest.mark.parametrize('wrap', [
    lambda t: dict(type='RandomApply', transforms=[t]),
    lambda t: dict(type='RandomChoice', transforms=[[FLIP], [t]]),
    lambda t: dict(
        type='TransformBroadcaster',
        mapping=dict(img=['img']),
        auto_remap=True,
        transforms=[t]),
    lambda t: dict(type='RandomApply', transforms=[
        dict(type='RandomChoice', transforms=[[t]])]),
    lambda t: dict(type='TestTimeAug', transforms=[[FLIP], [t]]),
])
def test_nested(wrap):
    with pytest.raises(ValueError, match='PhotoMetricDistortion'):
        _check(_load(), wrap(dict(type='PhotoMetricDistortion')))
    inner = dict(
        type='mwam_mm.PhotometricTransforms',
        modalities=CHANNELS[4],
        transforms=[dict(type='PhotoMetricDistortion')])
    _check(_load(), wrap(inner))


def test_other_stock_transforms():
    with pytest.raises(ValueError, match='Pad.*mwam_mm.FillWithMean'):
        _check(_load(5), dict(type='Pad', size=(8, 8)))
    _check(_load(4), dict(type='Pad', size=(8, 8)))
    _check(
        _load(5),
        dict(
            type='mwam_mm.FillWithMean',
            modalities=CHANNELS[5],
            transform=dict(type='Pad', size=(8, 8))))
    with pytest.raises(ValueError, match='RandomMosaic'):
        _check(_load(),
               dict(type='RandomMosaic', prob=1., img_scale=(8, 8)))
    with pytest.raises(ValueError, match='Normalize.*preprocessor'):
        _check(_load(),
               dict(type='Normalize', mean=[0] * 4, std=[1] * 4))


@pytest.mark.parametrize('name', [
    'YOLOXHSVRandomAug', 'ColorTransform', 'AutoContrast', 'Equalize',
    'Posterize', 'Solarize', 'SolarizeAdd', 'Brightness', 'Contrast',
    'Sharpness', 'Color', 'Invert', 'Corrupt', 'Albu', 'Mosaic', 'MixUp',
    'CachedMosaic', 'CachedMixUp'
])
def test_mmdet_names(name):
    # mmdet is not needed for segmentation: its classes go by name.
    stock = type(name, (BaseTransform, ), dict(transform=lambda s, r: r))()
    with pytest.raises(ValueError, match=name):
        _check(_load(), stock)


@pytest.mark.parametrize('dtype', [np.uint8, np.float32])
@pytest.mark.parametrize('channels', [4, 5, 7])
@pytest.mark.parametrize('stock', [
    dict(type='Resize', scale=(24, 20)),
    dict(type='RandomResize', scale=(40, 30), ratio_range=(.5, 2.)),
    dict(type='RandomCrop', crop_size=(8, 8), cat_max_ratio=.75),
    dict(type='RandomFlip', prob=.5),
    dict(type='RandomRotate', prob=1., degree=20),
], ids=lambda s: s['type'])
def test_stock_geometry_treats_all_channels_alike(tmp_path, stock, channels,
                                                  dtype):
    """Stacked, every channel becomes what it becomes on its own."""
    array = np.random.default_rng(0).integers(
        0, 256, (15, 18, channels)).astype(dtype)
    path = str(tmp_path / 'a.npy')
    np.save(path, array)
    label_path = str(tmp_path / 'label.png')
    assert cv2.imwrite(label_path, array[..., 0].astype(np.uint8) // 100)
    rest = [
        dict(type='LoadAnnotations'), stock,
        dict(type='PackSegInputs')
    ]

    def run(modalities):
        pipeline = Compose(
            [dict(type='mwam_mm.LoadModalities', modalities=modalities)] +
            rest)
        check_pipeline(pipeline)
        np.random.seed(5)
        packed = pipeline(
            dict(
                img_path=path,
                seg_map_path=label_path,
                seg_fields=[],
                reduce_zero_label=False))
        return (packed['inputs'].numpy(),
                packed['data_samples'].gt_sem_seg.data.numpy())

    stacked, labels = run(
        dict(all=dict(channels=channels, path_key='img_path')))
    assert stacked.dtype == dtype
    assert stacked.shape[1:] == labels.shape[1:]
    for channel in range(channels):
        single, single_labels = run(
            dict(
                one=dict(
                    channels=1,
                    path_key='img_path',
                    file_channels=[channel])))
        # Above four channels OpenCV rotates on a grid of 1/32 pixel: at
        # most 1/64 pixel off along each axis, with steps of up to 255.
        atol = 8 if stock['type'] == 'RandomRotate' else 1e-3
        np.testing.assert_allclose(
            stacked[channel].astype(float),
            single[0].astype(float),
            atol=atol)
        np.testing.assert_array_equal(labels, single_labels)


def test_stock_pad_is_what_fails_above_four_channels():
    """One reason of FillWithMean."""
    with pytest.raises(Exception):
        mmcv.impad(
            np.zeros((4, 4, 5), np.uint8), shape=(8, 8), pad_val=(0, ) * 5)


def test_invalid_depth_does_not_bleed_when_resized(tmp_path):
    """A hole in constant depth is gone after Resize, not smeared."""
    depth = np.full((16, 16), 3000, np.uint16)
    depth[4:9, 4:9] = 0
    path = str(tmp_path / 'd.png')
    assert cv2.imwrite(path, depth)
    modalities = dict(
        depth=dict(channels=1, scale=.001, mean=3., invalid_value=0))
    results = Compose([
        dict(type='mwam_mm.LoadModalities', modalities=modalities),
        dict(type='Resize', scale=(23, 23))
    ])(dict(depth_path=path))
    np.testing.assert_allclose(results['img'], 3., rtol=1e-6)


def test_packing_that_forgets_what_is_absent():
    modalities = dict(CHANNELS[4], depth=dict(channels=1, optional=True))
    load = dict(type='mwam_mm.LoadModalities', modalities=modalities)
    # RandomDropModality would fill in that nothing is absent.
    drop = dict(type='mwam_mm.RandomDropModality', modalities=modalities)
    with pytest.raises(
            ValueError, match=r"'depth'.*PackSegInputs.*'absent_modalities'"):
        _check(load, dict(type='PackSegInputs'), drop)
    pipeline = Compose([load, dict(type='PackSegInputs'), drop])
    stock = pipeline.transforms[1].meta_keys
    for _ in range(2):
        keep_absent(pipeline)
        assert pipeline.transforms[1].meta_keys == (
            *stock, 'absent_modalities')
    check_pipeline(pipeline)
    pipeline = Compose([_load(), dict(type='PackSegInputs')])
    keep_absent(pipeline)
    assert pipeline.transforms[1].meta_keys == stock
    keys = ('img_path', 'absent_modalities')
    _check(load, dict(type='PackSegInputs', meta_keys=keys), drop)
    _check(_load(), dict(type='PackSegInputs'), drop)


def test_packing_keeps_the_paths():
    pipeline = Compose([
        _load(), dict(type='RandomApply', transforms=[
            dict(type='PackSegInputs', meta_keys=('img_path', 'flip'))])])
    pack_paths(pipeline)
    packing = pipeline.transforms[1].transforms.transforms[0]
    assert packing.meta_keys[:2] == ('img_path', 'flip')
    assert packing.meta_keys[2:] == tuple(
        m.path_key for m in pipeline.transforms[0].layout.values()
        if m.path_key != 'img_path')
    assert len(packing.meta_keys) > 2
