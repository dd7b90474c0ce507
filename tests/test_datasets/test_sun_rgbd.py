"""SUNRGBDDataset, on what its converter writes."""
import cv2
import numpy as np
import pytest
from mmengine.registry import init_default_scope

from mwam_mm.datasets import NYUDepthV2Dataset, SUNRGBDDataset
from mwam_mm.registry import DATASETS
from tests.benchmarks import (
    load_config,
    load_tool,
    train,
    write_sun_rgbd,
)

pytest.importorskip('h5py', reason='the publishers\' labels are HDF5')


@pytest.fixture
def root(tmp_path):
    init_default_scope('mmseg')
    write_sun_rgbd(tmp_path)
    converter = load_tool('dataset_converters/sun_rgbd')
    converter.convert(
        str(tmp_path / 'SUNRGBD'), str(tmp_path / 'SUNRGBDtoolbox'),
        str(tmp_path / 'sun'))
    return tmp_path / 'sun'


def test_published_facts(root):
    train_set = SUNRGBDDataset(str(root))
    test_set = SUNRGBDDataset(str(root), 'test')
    assert (len(train_set), len(test_set)) == (3, 2)
    meta = train_set.metainfo
    assert len(set(meta['classes'])) == 37
    assert meta['palette'] == NYUDepthV2Dataset.METAINFO['palette'][:37]
    assert meta['reduce_zero_label']


def test_sample(root, tmp_path):
    cfg = load_config('sun_rgbd/two-stream-r50_md_sun-rgbd.py', root,
                      tmp_path)
    sample = DATASETS.build(cfg.test_dataloader.dataset)[0]
    depth = cv2.imread(str(root / 'test/depth/00001.png'), -1)
    np.testing.assert_allclose(
        sample['inputs'][3],
        np.where(depth == 0, 2.378, depth / 1000),
        rtol=1e-6)


@pytest.mark.parametrize('mwam', ['', '_mwam'])
def test_job(root, tmp_path, mwam):
    metrics = train(
        f'sun_rgbd/two-stream-r50_md{mwam}_sun-rgbd.py', root,
        tmp_path / 'work')
    assert set(metrics) == {'rgb+depth', 'rgb', 'depth'}
    assert all(0 <= m['mIoU'] <= 100 for m in metrics.values())
