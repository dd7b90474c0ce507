"""Stock pipelines for stacked images."""
import copy

import cv2
import numpy as np
import pytest
from mmcv.transforms import Compose
from mmengine.registry import init_default_scope

from mwam_mm.convert import multimodal_transforms
from mwam_mm.registry import TRANSFORMS

MODALITIES = dict(
    rgb=dict(channels=3, bgr_to_rgb=True),
    depth=dict(channels=1, mean=7.))
SEVEN = dict(MODALITIES, thermal=dict(channels=3, mean=5.))
STOCK = [
    dict(type='LoadImageFromFile', backend_args=dict(backend='local')),
    dict(type='LoadAnnotations', reduce_zero_label=True),
    dict(type='RandomResize', scale=(32, 24), ratio_range=(1., 1.),
         keep_ratio=True),
    dict(type='RandomCrop', crop_size=(16, 20), cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackSegInputs'),
]


@pytest.fixture(autouse=True)
def _scope():
    init_default_scope('mmseg')


@pytest.fixture
def sample(tmp_path):
    rng = np.random.default_rng(0)
    files = dict(
        img_path=rng.integers(0, 256, (24, 32, 3), np.uint8),
        depth_path=rng.integers(0, 256, (24, 32), np.uint8),
        seg_map_path=rng.integers(0, 4, (24, 32), np.uint8))
    paths = {}
    for key, image in files.items():
        paths[key] = str(tmp_path / f'{key}.png')
        cv2.imwrite(paths[key], image)
    return dict(paths, seg_fields=[], reduce_zero_label=False), files


def test_stock_pipeline():
    before = copy.deepcopy(STOCK)
    load, labels, resize, crop, flip, photometric, pack = \
        multimodal_transforms(STOCK, MODALITIES)
    assert STOCK == before
    assert load == dict(
        type='mwam_mm.LoadModalities',
        modalities=MODALITIES,
        backend_args=dict(backend='local'))
    assert labels == dict(type='LoadAnnotations')
    assert [resize, crop, flip, pack] == [STOCK[i] for i in (2, 3, 4, 6)]
    assert photometric == dict(
        type='mwam_mm.PhotometricTransforms',
        modalities=MODALITIES,
        transforms=[dict(type='PhotoMetricDistortion')])


def test_it_runs(sample):
    paths, files = sample
    pipeline = TRANSFORMS.build(
        dict(
            type='mwam_mm.multimodal',
            modalities=MODALITIES,
            transforms=STOCK[:2] + STOCK[5:]))
    packed = Compose([pipeline])(paths)
    image = packed['inputs'].numpy()
    # Photometric distortion is for RGB, and the labels are as in the file.
    assert image.shape == (4, 24, 32)
    assert np.array_equal(image[3], files['depth_path'])
    assert np.array_equal(packed['data_samples'].gt_sem_seg.data.numpy()[0],
                          files['seg_map_path'])


def test_labels_of_another_dataset():
    own = dict(type='mwam_mm.LoadPaletteAnnotations', palette=[[0, 0, 0]])
    assert multimodal_transforms(STOCK, MODALITIES, own)[1] == own


def test_nested_transforms():
    tta = dict(
        type='TestTimeAug',
        transforms=[[dict(type='LoadAnnotations', reduce_zero_label=True)],
                    [dict(type='CLAHE')]])
    out, = multimodal_transforms([tta], MODALITIES)
    assert out['transforms'][0] == [dict(type='LoadAnnotations')]
    assert out['transforms'][1][0]['type'] == 'mwam_mm.PhotometricTransforms'


def test_padding(sample):
    pad = dict(
        type='Pad', size=(40, 30), pad_val=dict(img=0, seg=9))
    transforms = multimodal_transforms([*STOCK[:2], pad, STOCK[-1]], SEVEN)
    paths, files = sample
    paths['thermal_path'] = paths['img_path']
    packed = Compose(transforms)(paths)
    assert packed['inputs'].shape == (7, 30, 40)
    assert packed['inputs'][3, 29, 39] == 7
    assert packed['inputs'][4, 29, 39] == 5
    assert packed['data_samples'].gt_sem_seg.data[0, 29, 39] == 9


@pytest.mark.parametrize('keys', [None, ('img_path', )])
def test_optional_modalities_are_packed(keys):
    modalities = dict(
        MODALITIES, depth=dict(channels=1, optional=True))
    pack = dict(type='PackSegInputs')
    if keys:
        pack['meta_keys'] = keys
    out, = multimodal_transforms([pack], modalities)
    assert out['meta_keys'][-1] == 'absent_modalities'
    assert out['meta_keys'][0] == 'img_path'
    assert len(out['meta_keys']) > 5 or keys
    assert multimodal_transforms([pack], MODALITIES) == [pack]


def test_boxes_are_packed_for_the_metric():
    pytest.importorskip('mmdet')
    init_default_scope('mmdet')
    keys = ('img_id', 'instances')
    own, stock = multimodal_transforms(
        [dict(type='PackDetInputs', meta_keys=keys[:1]),
         dict(type='mmdet.PackDetInputs')], MODALITIES)
    assert own['meta_keys'] == keys
    assert stock['meta_keys'][0] == 'img_id' and len(stock['meta_keys']) > 5
    assert stock['meta_keys'][-1] == 'instances'
    assert multimodal_transforms([own], MODALITIES) == [own]


@pytest.mark.parametrize('transform, modalities, message', [
    (dict(type='ConcatCDInput'), MODALITIES, 'ConcatCDInput.*change det'),
    (dict(type='CLAHE'), dict(depth=dict(channels=1)), 'CLAHE.*"rgb"'),
])
def test_what_cannot_be_carried_is_an_error(transform, modalities, message):
    with pytest.raises(ValueError, match=message):
        TRANSFORMS.build(
            dict(
                type='mwam_mm.multimodal',
                modalities=modalities,
                transforms=[STOCK[0], transform]))
