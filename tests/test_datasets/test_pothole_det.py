"""PotholeDetDataset: boxes from masks."""
import cv2
import numpy as np
import pytest
from mmengine.registry import init_default_scope

from tests import det_benchmarks as mini
from tests.benchmarks import write

pytest.importorskip('mmdet')
pytest.importorskip('mmcv.ops')
from mwam_mm.datasets import PotholeDetDataset  # noqa: E402


@pytest.fixture
def root(tmp_path):
    init_default_scope('mmdet')
    rng = np.random.default_rng(0)
    for part in (1, 2, 3):
        for i in range(2):
            folder = tmp_path / 'potholes' / f'dataset{part}'
            write(folder / f'rgb/{i:02d}.png',
                  rng.integers(0, 256, (48, 64, 3), np.uint8))
            write(folder / f'disp_tg/{i:02d}.png',
                  rng.integers(1, 65535, (48, 64)).astype(np.uint16))
            label = np.zeros((48, 64, 3), np.uint8)
            label[5:20, 8:30] = label[30:44, 40:60] = (0, 0, 153)
            # joined to the first at a corner
            label[20:24, 30:36] = (0, 0, 153)
            write(folder / f'label/{i:02d}.png', label)
    return tmp_path / 'potholes'


def test_boxes_of_connected_parts(root):
    dataset = PotholeDetDataset(str(root))
    assert len(dataset) == 4 and len(PotholeDetDataset(str(root), 'test')) == 2
    info = dataset.get_data_info(0)
    assert info['img_path'] == str(root / 'dataset1/rgb/01.png')
    assert info['depth_path'] == str(root / 'dataset1/disp_tg/01.png')
    assert sorted(i['bbox'] for i in info['instances']) == [
        [8, 5, 36, 24], [40, 30, 60, 44]
    ]


def test_other_colours_are_refused(root):
    path = root / 'dataset1/label/01.png'
    label = cv2.imread(str(path))
    label[0, 0] = (0, 0, 152)
    cv2.imwrite(str(path), label)
    with pytest.raises(ValueError, match=r'label/01\.png'):
        PotholeDetDataset(str(root))


def test_job(root, tmp_path):
    metrics = mini.train('potholes/two-stream-atss-r18_md_mwam_potholes.py',
                         root, tmp_path / 'work')
    assert {'rgb+depth/coco/bbox_mAP_50',
            'depth/coco/bbox_mAP_50'} <= set(metrics)


def test_real_pairs(data_root):
    counts = {}
    for split in ('train', 'test'):
        dataset = PotholeDetDataset(str(data_root / 'potholes'), split)
        counts[split] = len(dataset), sum(
            len(dataset.get_data_info(i)['instances'])
            for i in range(len(dataset)))
    assert counts == dict(train=(44, 50), test=(23, 29))
