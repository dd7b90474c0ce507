"""PotholeDataset, on a miniature of the layout and on the real pairs."""
import cv2
import numpy as np
import pytest
from mmengine.registry import init_default_scope

from mwam_mm.datasets.potholes import PotholeDataset
from mwam_mm.registry import DATASETS

COLOURS = [[0, 0, 0], [153, 0, 0]]
PIPELINE = [
    dict(
        type='mwam_mm.LoadModalities',
        modalities=dict(
            rgb=dict(channels=3, bgr_to_rgb=True),
            depth=dict(
                channels=1, scale=1 / 65535, mean=-1., invalid_value=0))),
    dict(type='mwam_mm.LoadPaletteAnnotations', palette=COLOURS),
]


@pytest.fixture(autouse=True)
def _scope():
    init_default_scope('mmseg')


@pytest.fixture
def root(tmp_path):
    for part, count in ((1, 4), (2, 3), (3, 1)):
        for i in range(count):
            for folder, array in [
                ('rgb', np.full((4, 5, 3), i, np.uint8)),
                ('disp_tg', np.full((4, 5), 6 * i, np.uint16)),
                ('label', np.tile(np.uint8([0, 0, 153 * (i % 2)]), (4, 5, 1))),
            ]:
                path = tmp_path / f'dataset{part}' / folder / f'{i:02d}.png'
                path.parent.mkdir(parents=True, exist_ok=True)
                assert cv2.imwrite(str(path), array)
    return tmp_path


def _names(dataset):
    return [
        '/'.join(dataset.get_data_info(i)['img_path'].split('/')[-3:])
        for i in range(len(dataset))
    ]


def test_split(root):
    test = PotholeDataset(str(root), 'test')
    assert _names(test) == [
        'dataset1/rgb/00.png', 'dataset1/rgb/03.png', 'dataset2/rgb/02.png'
    ]
    train = PotholeDataset(str(root))
    assert _names(train) == [
        'dataset1/rgb/01.png', 'dataset1/rgb/02.png', 'dataset2/rgb/00.png',
        'dataset2/rgb/01.png', 'dataset3/rgb/00.png'
    ]
    with pytest.raises(ValueError, match="'val'"):
        PotholeDataset(str(root), 'val')


def test_sample(root):
    dataset = DATASETS.build(
        dict(
            type='mwam_mm.PotholeDataset',
            data_root=str(root),
            pipeline=PIPELINE))
    sample = dataset[0]
    np.testing.assert_allclose(
        sample['img'][0, 0], [1, 1, 1, 6 / 65535], rtol=1e-6)
    assert (sample['gt_seg_map'] == 1).all()
    assert dataset.metainfo['classes'] == ('road', 'pothole')


@pytest.mark.parametrize('folder', ['rgb', 'disp_tg', 'label'])
def test_missing_partner(root, folder):
    path = root / 'dataset2' / folder / '01.png'
    path.unlink()
    with pytest.raises(FileNotFoundError) as error:
        PotholeDataset(str(root))
    assert str(path) in str(error.value)


def test_missing_folder(root, tmp_path):
    for path in (root / 'dataset3' / 'label').iterdir():
        path.unlink()
    with pytest.raises(FileNotFoundError, match='dataset3.*label'):
        PotholeDataset(str(root))
    with pytest.raises(FileNotFoundError, match='elsewhere.*dataset1.*rgb'):
        PotholeDataset(str(tmp_path / 'elsewhere'))


def test_real_pairs(data_root):
    root = str(data_root / 'potholes')
    train = PotholeDataset(root, 'train', pipeline=PIPELINE)
    test = PotholeDataset(root, 'test', pipeline=PIPELINE)
    assert (len(train), len(test)) == (44, 23)
    assert not set(_names(train)) & set(_names(test))

    info = train.get_data_info(10)
    sample = train[10]
    rgb = cv2.imread(info['img_path'])
    disparity = cv2.imread(info['depth_path'], cv2.IMREAD_UNCHANGED)
    label = cv2.imread(info['seg_map_path'])
    np.testing.assert_array_equal(sample['img'][..., :3], rgb)
    np.testing.assert_allclose(
        sample['img'][..., 3],
        np.where(disparity == 0, -1, disparity / 65535),
        rtol=1e-6)
    assert (disparity == 0).any()
    np.testing.assert_array_equal(sample['gt_seg_map'], label[..., 2] == 153)
    assert 0 < sample['gt_seg_map'].mean() < .5
