"""Lists and folders of samples with one file per modality."""
import re

import cv2
import numpy as np
import pytest

from mwam_mm.datasets import (
    CASIASURFDataset,
    MultiModalClsDataset,
    file_names,
)

MODALITIES = dict(
    rgb=dict(channels=3, bgr_to_rgb=True),
    depth=dict(channels=1, file_channels=[0]),
    ir=dict(channels=1, file_channels=[0]))
LOAD = dict(type='mwam_mm.LoadModalities', modalities=MODALITIES)
OPTIONAL = dict(
    LOAD,
    modalities=dict(
        MODALITIES, ir=dict(channels=1, file_channels=[0], optional=True)))


def save(path, value, channels=3):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(
        str(path), np.full((8, 8, channels), value, np.uint8))


@pytest.fixture
def casia(tmp_path):
    """Two faces, one real, in the layout of the publishers."""
    lines = []
    for part, value, label in (('real_part', 10, 1), ('fake_part', 40, 0)):
        files = []
        for i, kind in enumerate(('color', 'depth', 'ir')):
            name = f'Training/{part}/CLKJ_AS0001/01.rssdk/{kind}/31.png'
            save(tmp_path / name, value + i)
            files.append(name)
        lines.append(' '.join([*files, str(label)]))
    (tmp_path / 'train_list.txt').write_text('\n'.join(lines) + '\n')
    return tmp_path


def test_casia_surf_list(casia):
    dataset = CASIASURFDataset(str(casia), pipeline=[LOAD])
    assert dataset.CLASSES == ('fake', 'real')
    assert [dataset.get_cat_ids(i) for i in range(2)] == [[1], [0]]
    for sample, value in zip(dataset, (10, 40)):
        np.testing.assert_array_equal(
            sample['img'][0, 0], [value] * 3 + [value + 1, value + 2])


@pytest.mark.parametrize('line, error, message', [
    ('a.png b.png 1', ValueError, 'has 3 columns, but expected are'),
    ('{0} {1} {2} 2', ValueError,
     "label 2 is none of the 2 classes, 0 to 1: ['fake', 'real']"),
    ('{0} {1} {2} -1', ValueError, 'label -1 is none of'),
    ('{0} gone.png {2} 1', FileNotFoundError, "gone.png' does not exist"),
])
def test_a_bad_line_names_line_and_list(casia, line, error, message):
    path = casia / 'train_list.txt'
    files = path.read_text().split()[:3]
    with path.open('a') as f:
        f.write('\n' + line.format(*files) + '\n')
    with pytest.raises(error, match=re.escape(message)) as info:
        CASIASURFDataset(str(casia), pipeline=[LOAD])
    assert str(info.value).startswith(f'{path}, line 4')


def test_a_list_may_begin_with_a_byte_order_mark(casia):
    file = casia / 'train_list.txt'
    file.write_text(file.read_text(), encoding='utf-8-sig')
    assert len(CASIASURFDataset(str(casia), pipeline=[LOAD])) == 2


def test_a_missing_file_of_an_optional_modality_is_no_error(casia):
    path = casia / 'train_list.txt'
    path.write_text(path.read_text().replace('/ir/', '/gone/'))
    dataset = CASIASURFDataset(str(casia), pipeline=[OPTIONAL])
    assert dataset[0]['absent_modalities'] == ('ir', )
    with pytest.raises(FileNotFoundError, match='line 1: ir_path'):
        CASIASURFDataset(str(casia), pipeline=[LOAD])


def test_packing_keeps_which_optional_modalities_a_sample_lacks(casia):

    class Pack:
        meta_keys = ('img_path', )

        def __call__(self, results):
            return {key: results[key] for key in self.meta_keys}

    (casia / 'train_list.txt').write_text(
        (casia / 'train_list.txt').read_text().replace('/ir/', '/gone/'))
    dataset = CASIASURFDataset(str(casia), pipeline=[OPTIONAL, Pack()])
    assert dataset[0]['absent_modalities'] == ('ir', )
    dataset = CASIASURFDataset(str(casia), lazy_init=True,
                               pipeline=[LOAD, Pack()])
    assert dataset.pipeline.transforms[1].meta_keys == ('img_path', )


def test_list_with_tabs_and_names_of_classes(tmp_path):
    save(tmp_path / 'a b.png', 7)
    (tmp_path / 'list.txt').write_text('a b.png\treal\n')
    dataset = MultiModalClsDataset(
        data_root=str(tmp_path),
        ann_file='list.txt',
        metainfo=dict(classes=('fake', 'real')))
    assert dataset[0]['gt_label'] == 1
    assert dataset[0]['img_path'] == str(tmp_path / 'a b.png')
    with pytest.raises(ValueError, match='list.txt does not name the class'):
        MultiModalClsDataset(data_root=str(tmp_path), ann_file='list.txt')
    with pytest.raises(FileNotFoundError, match="other.txt' does not exist"):
        MultiModalClsDataset(
            data_root=str(tmp_path),
            ann_file='other.txt',
            metainfo=dict(classes=('fake', 'real')))


def test_two_columns_of_one_name(tmp_path):
    """One file would take the place of the other."""
    (tmp_path / 'list.txt').write_text('a.png b.png 0\n')
    with pytest.raises(ValueError, match=r"columns=\['img_path', 'img_path'"):
        MultiModalClsDataset(
            data_root=str(tmp_path), ann_file='list.txt',
            columns=('img_path', 'img_path'),
            metainfo=dict(classes=('fake', 'real')), pipeline=[LOAD])


@pytest.fixture
def folders(tmp_path):
    for kind, suffix in (('rgb', 'jpg'), ('depth', 'png')):
        for name in ('dog/1', 'cat/2', 'cat/more/3'):
            save(tmp_path / kind / f'{name}.{suffix}', 9)
    return dict(
        data_root=str(tmp_path),
        data_prefix=dict(img_path='rgb', depth_path='depth'),
        modality_suffix=dict(depth_path='.png'),
        pipeline=[
            dict(
                LOAD,
                modalities={k: MODALITIES[k] for k in ('rgb', 'depth')})
        ])


def test_folders_per_class(folders, tmp_path):
    dataset = MultiModalClsDataset(**folders)
    assert dataset.metainfo['classes'] == ('cat', 'dog')
    samples = [dataset.get_data_info(i) for i in range(len(dataset))]
    assert [s['gt_label'] for s in samples] == [0, 0, 1]
    assert samples[1]['depth_path'] == str(tmp_path / 'depth/cat/more/3.png')
    assert dataset[0]['img'].shape == (8, 8, 4)


def test_folders_with_gaps(folders, tmp_path):
    (tmp_path / 'depth/cat/2.png').unlink()
    with pytest.raises(FileNotFoundError, match='cat/2.jpg: depth_path'):
        MultiModalClsDataset(**folders)
    with pytest.raises(ValueError, match="cat' is none of the classes"):
        MultiModalClsDataset(**folders, metainfo=dict(classes=('dog', )))
    with pytest.raises(FileNotFoundError, match='holds no sample with img_s'):
        MultiModalClsDataset(**folders, img_suffix='.bmp')
    with pytest.raises(FileNotFoundError, match='folder .*gone. does not'):
        MultiModalClsDataset(**dict(folders, data_prefix=dict(a_path='gone')))


def test_images_of_another_suffix_are_not_lost_without_a_word(
        folders, tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(file_names, 'print_log',
                        lambda message, *args: said.append(message))
    assert len(MultiModalClsDataset(**folders)) == 3
    assert not said
    save(tmp_path / 'rgb/dog/4.jpeg', 9)
    # The suffix of depth does not make an image of it, either.
    save(tmp_path / 'rgb/dog/5.png', 9)
    save(tmp_path / 'depth/dog/4.png', 9)
    assert len(MultiModalClsDataset(**folders)) == 3
    images, depths = said
    assert images.startswith('2 file(s)') and "'dog/4.jpeg'" in images
    assert depths.startswith('1 file(s)') and "'dog/4.png'" in depths
    (tmp_path / 'rgb/dog/1.jpg').unlink()
    with pytest.raises(ValueError, match=r"classes \['dog'\] no file ends"):
        MultiModalClsDataset(**folders)


def test_a_stock_photometric_transform_is_refused(folders):
    folders['pipeline'].append(dict(type='mmcv.RandomGrayscale'))
    with pytest.raises(ValueError, match='PhotometricTransforms'):
        MultiModalClsDataset(**folders)
