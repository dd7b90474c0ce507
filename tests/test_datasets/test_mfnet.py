"""MFNetDataset, on a miniature of the published tree."""
import cv2
import numpy as np
import pytest
from mmengine.registry import init_default_scope

from mwam_mm.datasets import MFNetDataset
from mwam_mm.registry import DATASETS
from tests.benchmarks import load_config, train, write_mfnet


@pytest.fixture
def root(tmp_path):
    init_default_scope('mmseg')
    return write_mfnet(tmp_path / 'mfnet')


def names(dataset):
    return [
        dataset.get_data_info(i)['img_path'].split('/')[-1]
        for i in range(len(dataset))
    ]


def test_published_facts(root):
    meta = MFNetDataset(str(root)).metainfo
    assert len(meta['classes']) == len(meta['palette']) == 9
    assert meta['classes'][:3] == ('unlabelled', 'car', 'person')
    assert not meta['reduce_zero_label']


def test_splits_without_the_mirrored_copies(root):
    assert names(MFNetDataset(str(root))) == [
        '00001D.png', '00002N.png', '00004D.png'
    ]
    assert names(MFNetDataset(str(root), 'val')) == [
        '00005N.png', '00006D.png'
    ]
    # Nor are they taken when make_flip.py has written them.
    for folder in ('images', 'labels'):
        image = cv2.imread(str(root / folder / '00001D.png'), -1)
        cv2.imwrite(str(root / folder / '00001D_flip.png'), image[:, ::-1])
    assert len(MFNetDataset(str(root))) == 3


@pytest.mark.parametrize('subset', ['day', 'night'])
def test_subset_gives_the_published_lists(root, subset):
    listed = (root / f'test_{subset}.txt').read_text().split()
    dataset = MFNetDataset(str(root), 'test', subset=subset)
    assert names(dataset) == [f'{name}.png' for name in listed]


def test_bad_subsets(root):
    with pytest.raises(ValueError, match="'noon'"):
        MFNetDataset(str(root), subset='noon')
    (root / 'val.txt').write_text('00006D')
    with pytest.raises(ValueError, match='selects none of 1'):
        MFNetDataset(str(root), 'val', subset='night')


def test_both_modalities_are_in_one_file(root, tmp_path):
    cfg = load_config('mfnet/two-stream-r50_md_mfnet.py', root, tmp_path)
    sample = DATASETS.build(cfg.test_dataloader.dataset)[1]
    # B, G, R and thermal, as OpenCV has them
    image = cv2.imread(str(root / 'images/00008N.png'), -1)
    np.testing.assert_array_equal(
        sample['inputs'], image.transpose(2, 0, 1))
    label = cv2.imread(str(root / 'labels/00008N.png'), -1)
    np.testing.assert_array_equal(
        sample['data_samples'].gt_sem_seg.data[0], label)


def test_missing_files_are_named(root):
    path = root / 'labels' / '00002N.png'
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r'labels.00002N\.png.*train'):
        MFNetDataset(str(root))
    (root / 'val.txt').unlink()
    with pytest.raises(FileNotFoundError, match=r'val\.txt'):
        MFNetDataset(str(root), 'val')


@pytest.mark.parametrize('mwam', ['', '_mwam'])
def test_job(root, tmp_path, mwam):
    metrics = train(f'mfnet/two-stream-r50_md{mwam}_mfnet.py', root,
                             tmp_path / 'work')
    assert set(metrics) == {'rgb+thermal', 'rgb', 'thermal'}
    assert all(0 <= m['mIoU'] <= 100 for m in metrics.values())
