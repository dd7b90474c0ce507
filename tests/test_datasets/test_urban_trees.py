"""UrbanTreesDataset: a miniature, and the real tiles."""
import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mwam_mm.registry import DATASETS
from tests import det_benchmarks as mini
from tests.benchmarks import REPO

pytest.importorskip('mmdet')
pytest.importorskip('mmcv.ops')
from mwam_mm.datasets import UrbanTreesDataset  # noqa: E402


@pytest.fixture
def root(tmp_path):
    init_default_scope('mmdet')
    return mini.write_urban_trees(tmp_path / 'trees')


def boxes(dataset, index=0):
    return [i['bbox'] for i in dataset.get_data_info(index)['instances']]


def test_boxes_from_points(root):
    dataset = UrbanTreesDataset(str(root))
    assert len(dataset) == 3
    assert boxes(dataset) == [[64, 0, 88, 22], [240, 205, 256, 229],
                              [116, 116, 140, 140]]
    assert boxes(dataset, 2) == []  # no csv: no tree
    dataset = UrbanTreesDataset(str(root), 'val', box_size=20)
    assert boxes(dataset)[2] == [118, 118, 138, 138]


@pytest.mark.parametrize('text, message', [
    ('x,y\n10,256\n', r'line 2: the point \(10, 256\) is outside'),
    ('x,y\n10,ten\n', "line 2: 'ten'"),
    ('x,y\n10\n', 'line 2: None'),
    ('a,b\n1,2\n', 'columns'),
])
def test_bad_points(root, text, message):
    path = root / 'csv/a_2020_1.csv'
    path.write_text(text)
    with pytest.raises(ValueError, match=r'a_2020_1\.csv.*' + message):
        UrbanTreesDataset(str(root))


def test_bad_settings(root):
    with pytest.raises(ValueError, match='box_size'):
        UrbanTreesDataset(str(root), box_size=0)
    (root / 'val_socal.txt').unlink()
    with pytest.raises(FileNotFoundError, match='val_socal.txt'):
        UrbanTreesDataset(str(root), 'val')
    (root / 'images/d_2020_1.tif').unlink()
    with pytest.raises(FileNotFoundError, match=r'd_2020_1\.tif'):
        UrbanTreesDataset(str(root), 'test')


@pytest.mark.parametrize('variant', ['', '_md_mwam-hybrid-reversed'])
def test_job(root, tmp_path, variant):
    metrics = mini.train(
        f'urban_trees/two-stream-fcos-r18{variant}_urban-trees.py', root,
        tmp_path / 'work')
    assert {f'{name}/coco/bbox_mAP_50'
            for name in ('rgb+nir', 'rgb', 'nir')} <= set(metrics)


def test_real_tiles(data_root):
    init_default_scope('mmdet')
    cfg = Config.fromfile(
        REPO / 'configs/urban_trees/two-stream-fcos-r18_urban-trees.py')
    counts = {}
    for split in ('train', 'val', 'test'):
        dataset = cfg[f'{split}_dataloader'].dataset
        dataset.data_root = str(data_root / 'urban_trees')
        dataset = DATASETS.build(dataset)
        counts[split] = len(dataset), sum(
            len(dataset.get_data_info(i)['instances'])
            for i in range(len(dataset)))
    assert counts == dict(
        train=(220, 11039), val=(43, 2070), test=(48, 2681))
    inputs = np.stack([dataset[i]['inputs'] for i in range(0, 48, 6)])
    assert inputs.shape == (8, 4, 256, 256)
    # B, G, R, near infrared
    means = [cfg.modalities.rgb.mean[::-1], [cfg.modalities.nir.mean]]
    np.testing.assert_allclose(
        inputs.mean((0, 2, 3)), np.concatenate(means), atol=20)
