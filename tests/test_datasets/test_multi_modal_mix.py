"""Mixed images, and samples that need care, from file to loss."""
import json
import os
import random

import cv2
import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS as ALL_DATASETS
from mmengine.registry import MODELS, DefaultScope, init_default_scope

pytest.importorskip('mmdet')
pytest.importorskip('mmcv.ops')

from mwam_mm.datasets import SceneDetDataset  # noqa: E402

from .. import tiny_det  # noqa: E402

MODALITIES = dict(
    rgb=dict(channels=3, mean=[122.7, 118.5, 116.2], std=46.,
             bgr_to_rgb=True),
    depth=dict(channels=1, mean=3.78, std=1.23, scale=0.001, invalid_value=0,
               optional=True))
LOAD = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
]
MIX = [
    dict(type='Mosaic', img_scale=(96, 64)),
    dict(type='RandomAffine', border=(-48, -32)),
    dict(type='MixUp', img_scale=(96, 64)),
    dict(type='YOLOXHSVRandomAug'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='Pad', pad_to_square=True),
]
PACK = dict(type='PackDetInputs')


@pytest.fixture(autouse=True)
def _scope():
    init_default_scope('mmdet')


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    """Scenes of which 0 lacks depth, 1 has no box and 2 one that sticks out.
    """
    root = str(tmp_path_factory.mktemp('edges') / 'scenes')
    SceneDetDataset(root, scene_cfg=dict(
        height=64, width=96, splits=dict(train=5, val=1)))
    path = os.path.join(root, 'annotations', 'train.json')
    with open(path) as f:
        content = json.load(f)
    os.remove(os.path.join(root, content['images'][0]['depth_path']))
    content['annotations'] = [
        a for a in content['annotations'] if a['image_id'] != 1
    ]
    annotation = next(
        a for a in content['annotations'] if a['image_id'] == 2)
    annotation['bbox'] = [80, 50, 100, 100]
    with open(path, 'w') as f:
        json.dump(content, f)
    return root


def dataset(root, transforms, modalities=MODALITIES):
    return dict(
        type='mwam_mm.MultiModalCocoDataset',
        data_root=root,
        ann_file='annotations/train.json',
        metainfo=SceneDetDataset.METAINFO,
        pipeline=[
            dict(
                type='mwam_mm.multimodal',
                modalities=modalities,
                transforms=transforms)
        ])


def build(cfg):
    return ALL_DATASETS.build(cfg)


def losses(samples):
    model = MODELS.build(
        tiny_det.model(modalities=MODALITIES, num_classes=7))
    model.init_weights()
    data = model.data_preprocessor(pseudo_collate(samples), True)
    out = model.loss(data['inputs'], data['data_samples'])
    return data['inputs'], {k: float(v) for k, v in out.items()}


def test_samples_that_need_care(root):
    samples = [s for s in build(dataset(root, [*LOAD, PACK]))]
    absent = [s['data_samples'].absent_modalities for s in samples]
    assert absent == [('depth', ), (), (), (), ()]
    assert len(samples[1]['data_samples'].gt_instances) == 0
    boxes = samples[2]['data_samples'].gt_instances.bboxes
    boxes = boxes.tensor if hasattr(boxes, 'tensor') else boxes
    assert boxes[:, 2].max() <= 96 and boxes[:, 3].max() <= 64
    assert [80, 50, 96, 64] in boxes.tolist()
    inputs, values = losses(samples)
    assert (inputs[0, 3] == 0).all() and (inputs[1:, 3] != 0).any()
    assert all(np.isfinite(v) for v in values.values())
    # Without one box in the batch as well.
    _, values = losses([samples[1]])
    assert all(np.isfinite(v) for v in values.values())


def test_a_missing_file_is_an_error_unless_optional(root):
    strict = dict(MODALITIES, depth=dict(channels=1))
    broken = build(dataset(root, [*LOAD, PACK], strict))
    with pytest.raises(
            FileNotFoundError,
            match=r"'depth'.*000000.png.*modalities\['depth'\].optional=True"):
        broken[0]
    broken[1]


@pytest.mark.parametrize('cached', [False, True])
def test_mixed_images_go_through_the_model(root, cached):
    if cached:
        mix = [dict(t, type=f'Cached{t["type"]}') if t['type'] in (
            'Mosaic', 'MixUp') else t for t in MIX]
        mixed = build(dataset(root, [*LOAD, *mix, PACK]))
    else:
        mixed = build(
            dict(
                type='mwam_mm.MultiModalMixDataset',
                modalities=MODALITIES,
                dataset=dataset(root, LOAD),
                pipeline=[*MIX, PACK]))
    np.random.seed(0)
    samples = [mixed[i % 5] for i in range(8)][-3:]
    for sample in samples:
        image, info = sample['inputs'], sample['data_samples']
        assert image.shape == (4, 96, 96) and info.absent_modalities == ()
        # No depth of 0 or 114 metres, and holes filled with the mean.
        assert 0.5 < image[3].min() and image[3].max() < 10
        assert (image[3] - 3.78).abs().min() < 1e-5
    inputs, values = losses(samples)
    assert torch.isfinite(inputs).all() and inputs.abs().max() < 10
    assert all(np.isfinite(v) for v in values.values())


def test_transforms_are_skipped_by_their_stock_names(root):
    mixed = build(
        dict(
            type='mwam_mm.MultiModalMixDataset',
            modalities=MODALITIES,
            dataset=dataset(root, LOAD),
            pipeline=[*MIX, PACK]))
    # What YOLOXModeSwitchHook does.
    mixed.update_skip_type_keys(('Mosaic', 'RandomAffine', 'MixUp', 'Pad'))
    np.random.seed(0)
    assert mixed[3]['inputs'].shape == (4, 64, 96)


def test_a_mosaic_of_label_maps(tmp_path):
    """RandomMosaic, whose wrapper in MMSegmentation calls it otherwise."""
    for i in range(4):
        for name, value in (('rgb', [40 * i] * 3), ('depth', 20 * i),
                            ('label', i)):
            (tmp_path / name).mkdir(exist_ok=True)
            cv2.imwrite(str(tmp_path / name / f'{i}.png'),
                        np.full((32, 48, np.size(value)), value, np.uint8))
    modalities = dict(
        rgb=dict(channels=3, mean=200.), depth=dict(channels=1, mean=100.))
    with DefaultScope.overwrite_default_scope('mmseg'):
        mixed = build(
            dict(
                type='mwam_mm.MultiModalMixDataset',
                modalities=modalities,
                dataset=dict(
                    type='mwam_mm.MultiModalSegDataset',
                    data_root=str(tmp_path),
                    img_suffix='.png',
                    data_prefix=dict(img_path='rgb', depth_path='depth',
                                     seg_map_path='label'),
                    metainfo=dict(classes=('a', 'b', 'c', 'd')),
                    pipeline=[
                        dict(type='mwam_mm.LoadModalities',
                             modalities=modalities),
                        dict(type='LoadAnnotations')
                    ]),
                pipeline=[
                    dict(type='RandomMosaic', prob=1., img_scale=(32, 48)),
                    dict(type='PackSegInputs')
                ]))
        random.seed(0)  # draws no index beyond the last, as the stock one may
        sample = mixed[0]
    image = sample['inputs'].numpy()
    labels = sample['data_samples'].gt_sem_seg.data[0].numpy()
    filled = image[0] == 200
    assert len(set(image[0][~filled])) > 1
    assert (image[3][~filled] == image[0][~filled] // 2).all()
    assert (labels[~filled] == image[0][~filled] // 40).all()
    assert (labels[filled] == 255).all() and (image[3][filled] == 100).all()
