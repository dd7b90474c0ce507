"""Datasets whose samples are parts of images."""
import json
import shutil

import cv2
import numpy as np
import pytest

from mwam_mm.datasets import LoadModalities, SceneClsDataset
from mwam_mm.datasets.scenes import CLASSES

SCENES = dict(height=48, width=64, splits=dict(train=3, val=1))


def test_objects_of_the_scenes(tmp_path):
    root = tmp_path / 'scenes'
    dataset = SceneClsDataset(
        str(root),
        scene_cfg=SCENES,
        min_area=20,
        pipeline=[
            dict(
                type='mwam_mm.LoadModalities',
                modalities=dict(
                    rgb=dict(channels=3), depth=dict(channels=1)))
        ])
    assert dataset.metainfo['classes'] == CLASSES[1:]
    objects = json.loads((root / 'annotations/train.json').read_text())
    objects = [a for a in objects['annotations'] if a['area'] >= 20]
    assert 3 <= len(dataset) == len(objects)
    for sample, annotation in zip(dataset, objects):
        label = cv2.imread(
            sample['img_path'].replace('/rgb/', '/label/'), -1)
        depth = cv2.imread(sample['depth_path'], -1)
        x, y, w, h = sample['crop_box']
        left, top, width, height = annotation['bbox']
        # all of the object is within, and is what the label says
        assert x <= left and left + width <= x + w
        assert y <= top and top + height <= y + h
        assert sample['gt_label'] + 1 == annotation['category_id']
        assert (label[y:y + h, x:x + w] == sample['gt_label'] + 1).sum() >= 20
        assert sample['img'].shape == (h, w, 4) and sample['ori_shape'] == (
            h, w)
        np.testing.assert_array_equal(
            sample['img'][..., 3], depth[y:y + h, x:x + w])


@pytest.mark.parametrize('box', [
    (-1, 0, 2, 2), (0, -1, 2, 2), (7, 0, 2, 2), (0, 7, 2, 2), (3, 3, 0, 1),
    (3, 3, 1, 0)])
def test_a_box_beyond_the_image_is_refused(tmp_path, box):
    path = str(tmp_path / 'a.png')
    cv2.imwrite(path, np.zeros((8, 8, 3), np.uint8))
    load = LoadModalities(dict(rgb=dict(channels=3)))
    with pytest.raises(ValueError, match=r'not within .*\(8, 8\) at .*a.png'):
        load(dict(img_path=path, crop_box=box))


def test_tiles_of_the_floods(data_root, tmp_path):
    pytest.importorskip('mmseg')
    from mwam_mm.datasets import OmbriaClsDataset
    for number, sensor in (('1', 'AFTER'), ('2', 'AFTER'), ('2', 'MASK')):
        folder = tmp_path / f'OmbriaS{number}/test/{sensor}'
        folder.mkdir(parents=True)
        source = data_root / 'floods' / folder.relative_to(tmp_path)
        for path in sorted(source.iterdir())[:3]:
            shutil.copy(path, folder)
    dataset = OmbriaClsDataset(str(tmp_path), 'test')
    assert len(dataset) == 12
    for sample in dataset:
        path = sample['img_path'].replace('AFTER', 'MASK').replace(
            'S2_after', 'S2_mask')
        mask = cv2.imread(path, cv2.IMREAD_GRAYSCALE)
        x, y, w, h = sample['crop_box']
        assert (w, h) == (mask.shape[1] // 2, mask.shape[0] // 2)
        share = (mask[y:y + h, x:x + w] > 0).mean()
        assert sample['gt_label'] == (share > 0.2)
