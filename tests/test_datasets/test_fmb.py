"""FMBDataset, on a miniature of the published tree."""
import cv2
import numpy as np
import pytest
from mmengine.registry import init_default_scope

from mwam_mm.datasets import FMBDataset
from mwam_mm.registry import DATASETS
from tests.benchmarks import load_config, train, write_fmb


@pytest.fixture
def root(tmp_path):
    init_default_scope('mmseg')
    return write_fmb(tmp_path / 'fmb')


def test_published_facts(root):
    train_set = FMBDataset(str(root))
    test_set = FMBDataset(str(root), 'test')
    assert (len(train_set), len(test_set)) == (3, 2)
    meta = train_set.metainfo
    assert len(meta['classes']) == len(meta['palette']) == 14
    assert meta['classes'][0] == 'road' and meta['classes'][-1] == 'pole'
    assert meta['reduce_zero_label']


def test_sample(root, tmp_path):
    cfg = load_config('fmb/two-stream-r50_md_fmb.py', root, tmp_path)
    sample = DATASETS.build(cfg.test_dataloader.dataset)[1]
    folder = root / 'test'
    thermal = cv2.imread(str(folder / 'Infrared/00005.png'), -1)
    np.testing.assert_array_equal(sample['inputs'][3], thermal)
    label = cv2.imread(str(folder / 'Label/00005.png'), -1)
    assert (label == 0).any()
    np.testing.assert_array_equal(
        sample['data_samples'].gt_sem_seg.data[0],
        np.where(label == 0, 255, label - 1.))


def test_thermal_may_have_three_equal_channels(root, tmp_path):
    path = root / 'test/Infrared/00002.png'
    thermal = cv2.imread(str(path), -1)
    cv2.imwrite(str(path), np.stack([thermal] * 3, -1))
    cfg = load_config('fmb/two-stream-r50_md_fmb.py', root, tmp_path)
    sample = DATASETS.build(cfg.test_dataloader.dataset)[0]
    np.testing.assert_array_equal(sample['inputs'][3], thermal)


@pytest.mark.parametrize('mwam', ['', '_mwam'])
def test_job(root, tmp_path, mwam):
    metrics = train(f'fmb/two-stream-r50_md{mwam}_fmb.py', root,
                             tmp_path / 'work')
    assert set(metrics) == {'rgb+thermal', 'rgb', 'thermal'}
    assert all(0 <= m['mIoU'] <= 100 for m in metrics.values())
