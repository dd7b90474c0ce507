"""MSRSDataset, on a miniature of the published tree."""
import pytest
from mmengine.registry import init_default_scope

from mwam_mm.datasets import MFNetDataset, MSRSDataset
from tests.benchmarks import train, write_msrs


@pytest.fixture
def root(tmp_path):
    init_default_scope('mmseg')
    return write_msrs(tmp_path / 'msrs')


def test_published_facts(root):
    train_set = MSRSDataset(str(root))
    test_set = MSRSDataset(str(root), 'test')
    assert (len(train_set), len(test_set)) == (3, 2)
    assert train_set.metainfo['classes'] == MFNetDataset.METAINFO['classes']
    assert not train_set.metainfo['reduce_zero_label']
    info = test_set.get_data_info(0)
    assert info['thermal_path'] == str(root / 'test/ir/00003N.png')


def test_subset(root):
    night = MSRSDataset(str(root), 'train', subset='night')
    assert [night.get_data_info(i)['img_path'] for i in range(len(night))
            ] == [str(root / 'train/vi/00002N.png')]
    assert len(MSRSDataset(str(root), 'train', subset='day')) == 2


@pytest.mark.parametrize('mwam', ['', '_mwam'])
def test_job(root, tmp_path, mwam):
    metrics = train(f'msrs/two-stream-r50_md{mwam}_msrs.py', root,
                             tmp_path / 'work')
    assert set(metrics) == {'rgb+thermal', 'rgb', 'thermal'}
    assert all(0 <= m['mIoU'] <= 100 for m in metrics.values())
