"""OmbriaDataset, on a miniature of the published tree and on real images."""
import cv2
import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from mwam_mm.datasets import OmbriaDataset, file_names
from mwam_mm.layout import ModalityLayout
from mwam_mm.registry import DATASETS
from tests.benchmarks import REPO, SIZE, write, write_ombria
from tests.reports import read_report

AFTER = dict(rgb=dict(channels=3, bgr_to_rgb=True), sar=dict(channels=1))
BEFORE = dict(
    rgb_before=dict(channels=3, bgr_to_rgb=True), sar_before=dict(channels=1))
PALETTE = [[0, 0, 0], [255, 255, 255]]


def pipeline(modalities):
    return [
        dict(type='mwam_mm.LoadModalities', modalities=modalities),
        dict(type='mwam_mm.LoadPaletteAnnotations', palette=PALETTE),
    ]


@pytest.fixture(autouse=True)
def _scope():
    init_default_scope('mmseg')


@pytest.fixture
def root(tmp_path):
    return write_ombria(tmp_path / 'floods')


def read(path):
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert image is not None, path
    return image


def test_published_facts(root, monkeypatch):
    # The names of the modalities differ, and no file is said to be left out.
    monkeypatch.setattr(file_names, 'print_log', None)
    train_set = OmbriaDataset(str(root))
    test_set = OmbriaDataset(str(root), 'test')
    assert (len(train_set), len(test_set)) == (3, 2)
    assert train_set.metainfo['classes'] == ('land', 'flood')
    info = test_set.get_data_info(1)
    paths = {k: v for k, v in info.items() if k.endswith('_path')}
    assert paths == {
        'img_path': str(root / 'OmbriaS2/test/AFTER/S2_after_0005.png'),
        'sar_path': str(root / 'OmbriaS1/test/AFTER/S1_after_0005.png'),
        'rgb_before_path':
        str(root / 'OmbriaS2/test/BEFORE/S2_before_0005.png'),
        'sar_before_path':
        str(root / 'OmbriaS1/test/BEFORE/S1_before_0005.png'),
        'seg_map_path': str(root / 'OmbriaS2/test/MASK/S2_mask_0005.png')}
    with pytest.raises(ValueError, match="'val'"):
        OmbriaDataset(str(root), 'val')


def test_sample(root):
    dataset = DATASETS.build(
        dict(
            type='mwam_mm.OmbriaDataset',
            data_root=str(root),
            pipeline=pipeline(AFTER)))
    sample = dataset[2]
    folder = 'train/AFTER'
    np.testing.assert_array_equal(
        sample['img'],
        np.dstack([read(root / f'OmbriaS2/{folder}/S2_after_0004.png'),
                   read(root / f'OmbriaS1/{folder}/S1_after_0004.png')]))
    mask = read(root / 'OmbriaS2/train/MASK/S2_mask_0004.png')
    assert set(np.unique(mask)) == {0, 255}
    np.testing.assert_array_equal(sample['gt_seg_map'], mask == 255)


def test_images_before_the_flood(tmp_path):
    root = write_ombria(tmp_path / 'floods', before=True)
    modalities = dict(AFTER, **BEFORE)
    dataset = OmbriaDataset(
        str(root), 'test', pipeline=pipeline(modalities))
    image = dataset[0]['img']
    assert image.shape == (*SIZE, 8)
    for name, file in [('rgb', 'OmbriaS2/test/AFTER/S2_after'),
                       ('sar', 'OmbriaS1/test/AFTER/S1_after'),
                       ('rgb_before', 'OmbriaS2/test/BEFORE/S2_before'),
                       ('sar_before', 'OmbriaS1/test/BEFORE/S1_before')]:
        channels = ModalityLayout(modalities)[name].slice
        expected = read(root / f'{file}_0003.png').reshape(*SIZE, -1)
        np.testing.assert_array_equal(image[..., channels], expected)


def test_images_before_the_flood_that_are_missing(root):
    dataset = OmbriaDataset(
        str(root), pipeline=pipeline(dict(AFTER, **BEFORE)))
    with pytest.raises(
            FileNotFoundError,
            match="modality 'rgb_before'.*BEFORE/S2_before_0001.png"):
        dataset[0]


@pytest.mark.parametrize('folder, name', [('AFTER', 'S2_after_0002'),
                                          ('MASK', 'S2_mask_0002')])
def test_image_or_mask_without_partner(root, folder, name):
    (root / f'OmbriaS2/train/{folder}/{name}.png').unlink()
    with pytest.raises(FileNotFoundError, match='S2_(mask|after)_0002.png'):
        OmbriaDataset(str(root))


def test_missing_radar_image(root):
    (root / 'OmbriaS1/train/AFTER/S1_after_0002.png').unlink()
    dataset = OmbriaDataset(str(root), pipeline=pipeline(AFTER))
    with pytest.raises(FileNotFoundError,
                       match="modality 'sar'.*S1_after_0002.png"):
        dataset[1]


def test_image_of_another_name(root):
    folder = root / 'OmbriaS2/train/AFTER'
    (folder / 'S2_after_0002.png').rename(folder / 'after_0002.png')
    with pytest.raises(ValueError, match="after_0002.png' should begin with "
                       "'S2_after_'"):
        OmbriaDataset(str(root))


def test_a_split_of_ones_own_lists_the_names_of_the_images(root):
    (root / 'some.txt').write_text('S2_after_0002\nS2_after_0001\n')
    some, whole = OmbriaDataset(str(root), ann_file='some.txt'), OmbriaDataset(
        str(root))
    assert len(some) == 2
    paths = {key: value for key, value in whole.get_data_info(1).items()
             if key.endswith('_path')}
    assert paths['seg_map_path'].endswith('S2_mask_0002.png')
    assert paths.items() <= some.get_data_info(0).items()


def test_files_of_another_format(root):
    for path in root.rglob('*.png'):
        path.rename(path.with_suffix('.tif'))
    dataset = OmbriaDataset(
        str(root), img_suffix='.tif', seg_map_suffix='.tif')
    assert len(dataset) == 3
    for key, value in dataset.get_data_info(1).items():
        assert not key.endswith('_path') or value.endswith('_0002.tif')


def test_mask_of_another_value(root):
    path = root / 'OmbriaS2/train/MASK/S2_mask_0001.png'
    write(path, np.full(SIZE, 7, np.uint8))
    dataset = OmbriaDataset(str(root), pipeline=pipeline(AFTER))
    with pytest.raises(ValueError, match='S2_mask_0001.png.*not in the pal'):
        dataset[0]


@pytest.mark.parametrize('job, combinations', [
    ('two-stream-r18_md_mwam-hybrid', {'rgb+sar', 'rgb', 'sar'}),
    ('four-stream-r18_md_mwam', 15),
])
def test_job(tmp_path, job, combinations):
    root = write_ombria(tmp_path / 'floods', before=True)
    cfg = Config.fromfile(REPO / f'configs/floods/{job}_floods.py')
    cfg.merge_from_dict({
        'work_dir': str(tmp_path / 'work'),
        'experiment_name': tmp_path.name,
        'log_level': 'WARNING',
        'train_cfg.max_iters': 1,
        'train_cfg.val_interval': 1,
        'train_dataloader.batch_size': 2,
        **{
            f'{split}_dataloader.{key}': value
            for split in ('train', 'val', 'test') for key, value in [
                ('num_workers', 0),
                ('persistent_workers', False),
                ('dataset.data_root', str(root))]
        }
    })
    Runner.from_cfg(cfg).train()
    found = read_report(tmp_path / 'work', 'val')['combinations']
    assert combinations in (set(found), len(found))
    assert all(0 <= e['metrics']['mIoU'] <= 100 for e in found.values())


def test_real_images(data_root):
    root = str(data_root / 'floods')
    train_set = OmbriaDataset(root, pipeline=pipeline(AFTER))
    test_set = OmbriaDataset(root, 'test', pipeline=pipeline(AFTER))
    assert (len(train_set), len(test_set)) == (624, 70)
    names = [{d.get_data_info(i)['img_path'].split('/')[-1]
              for i in range(len(d))} for d in (train_set, test_set)]
    assert not names[0] & names[1]

    info = test_set.get_data_info(5)
    sample = test_set[5]
    np.testing.assert_array_equal(
        sample['img'],
        np.dstack([read(info['img_path']), read(info['sar_path'])]))
    np.testing.assert_array_equal(
        sample['gt_seg_map'], read(info['seg_map_path']) == 255)
    share = np.mean([test_set[i]['gt_seg_map'].mean() for i in range(70)])
    assert share == pytest.approx(1 / 3, abs=0.01)
