"""NYUDepthV2Dataset, on what its converter writes."""
import cv2
import numpy as np
import pytest
from mmengine.registry import init_default_scope

from mwam_mm.datasets import NYUDepthV2Dataset
from mwam_mm.registry import DATASETS
from tests.benchmarks import (
    load_config,
    load_tool,
    train,
    write_nyu_depth_v2,
)

pytest.importorskip('h5py', reason='the publishers\' file is HDF5')


@pytest.fixture
def root(tmp_path):
    init_default_scope('mmseg')
    write_nyu_depth_v2(tmp_path / 'download')
    converter = load_tool('dataset_converters/nyu_depth_v2')
    converter.convert(
        str(tmp_path / 'download/nyu_depth_v2_labeled.mat'),
        str(tmp_path / 'download/splits.mat'), str(tmp_path / 'nyu'))
    return tmp_path / 'nyu'


def test_published_facts(root):
    train_set = NYUDepthV2Dataset(str(root))
    test_set = NYUDepthV2Dataset(str(root), 'test')
    assert (len(train_set), len(test_set)) == (4, 2)
    meta = train_set.metainfo
    assert len(set(meta['classes'])) == len(meta['palette']) == 40
    assert meta['classes'][0] == 'wall'
    assert meta['classes'][37:] == ('otherstructure', 'otherfurniture',
                                    'otherprop')
    assert meta['reduce_zero_label']


def test_sample(root, tmp_path):
    cfg = load_config('nyu_depth_v2/two-stream-r50_md_nyu-depth-v2.py', root,
                      tmp_path)
    sample = DATASETS.build(cfg.test_dataloader.dataset)[0]
    depth = cv2.imread(str(root / 'test/depth/0003.png'), -1)
    np.testing.assert_allclose(sample['inputs'][3], depth / 1000, rtol=1e-6)
    label = cv2.imread(str(root / 'test/label/0003.png'), -1)
    np.testing.assert_array_equal(
        sample['data_samples'].gt_sem_seg.data[0],
        np.where(label == 0, 255, label - 1.))


@pytest.mark.parametrize('mwam', ['', '_mwam'])
def test_job(root, tmp_path, mwam):
    metrics = train(
        f'nyu_depth_v2/two-stream-r50_md{mwam}_nyu-depth-v2.py', root,
        tmp_path / 'work')
    assert set(metrics) == {'rgb+depth', 'rgb', 'depth'}
    assert all(0 <= m['mIoU'] <= 100 for m in metrics.values())
