"""PST900Dataset, on a miniature of the published tree."""
import shutil

import cv2
import numpy as np
import pytest
from mmengine.registry import init_default_scope

from mwam_mm.datasets import PST900Dataset
from mwam_mm.registry import DATASETS
from tests.benchmarks import load_config, train, write_pst900


@pytest.fixture
def root(tmp_path):
    init_default_scope('mmseg')
    return write_pst900(tmp_path / 'pst900')


def test_published_facts(root):
    train_set = PST900Dataset(str(root))
    test_set = PST900Dataset(str(root), 'test')
    assert (len(train_set), len(test_set)) == (3, 2)
    meta = train_set.metainfo
    assert meta['classes'] == ('background', 'fire_extinguisher', 'backpack',
                               'hand_drill', 'survivor')
    assert meta['palette'][1] == [255, 0, 0]  # red
    assert not meta['reduce_zero_label']


def test_raw_thermal(root, tmp_path):
    name = '31_bag1a_rect_rgb_frame0000000003.png'
    path = root / 'test/thermal_raw' / name
    raw = cv2.imread(str(path), -1)
    raw[:5] = 0  # as where the cameras do not overlap
    cv2.imwrite(str(path), raw)
    cfg = load_config('pst900/two-stream-r50_md_pst900-raw.py', root,
                      tmp_path)
    sample = DATASETS.build(cfg.test_dataloader.dataset)[0]
    np.testing.assert_allclose(
        sample['inputs'][3], np.where(raw == 0, .5, raw / 65535), rtol=1e-6)


def test_only_what_is_used_must_be_there(root, tmp_path):
    for split in ('train', 'test'):
        for folder in ('depth', 'thermal_raw'):
            shutil.rmtree(root / split / folder)
    cfg = load_config('pst900/two-stream-r50_md_pst900.py', root, tmp_path)
    assert DATASETS.build(cfg.test_dataloader.dataset)[0]
    cfg = load_config('pst900/two-stream-r50_md_pst900-raw.py', root,
                      tmp_path)
    with pytest.raises(FileNotFoundError, match='thermal_raw.*0003'):
        DATASETS.build(cfg.test_dataloader.dataset)[0]


@pytest.mark.parametrize('name', [
    'md_pst900', 'md_mwam_pst900', 'md_mwam_pst900-raw'
])
def test_job(root, tmp_path, name):
    metrics = train(f'pst900/two-stream-r50_{name}.py', root,
                    tmp_path / 'work')
    assert set(metrics) == {'rgb+thermal', 'rgb', 'thermal'}
    assert all(0 <= m['mIoU'] <= 100 for m in metrics.values())
