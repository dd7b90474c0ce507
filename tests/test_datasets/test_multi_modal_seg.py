"""MultiModalSegDataset."""
import os
import os.path as osp

import cv2
import numpy as np
import pytest
from mmcv.transforms import LoadAnnotations
from mmengine.registry import init_default_scope
from PIL import Image

from mwam_mm.datasets import file_names
from mwam_mm.registry import DATASETS

MODALITIES = dict(
    rgb=dict(channels=3, bgr_to_rgb=True),
    depth=dict(channels=1, scale=.001),
    thermal=dict(channels=1))
PREFIX = dict(
    img_path='image',
    depth_path='depth',
    thermal_path='thermal',
    seg_map_path='label')


@pytest.fixture(autouse=True)
def _scope():
    init_default_scope('mmseg')


@pytest.fixture
def root(tmp_path):
    for value, name in enumerate(('b', 'sub/a', 'sub/c')):
        for folder, suffix, array in [
            ('image', '.png', np.full((4, 5, 3), value, np.uint8)),
            ('depth', '.tiff', np.full((4, 5), 1000 + value, np.uint16)),
            ('thermal', '.png', np.full((4, 5), 50 + value, np.uint8)),
            ('label', '_gt.png', np.full((4, 5), value % 2, np.uint8)),
        ]:
            path = tmp_path / folder / (name + suffix)
            path.parent.mkdir(parents=True, exist_ok=True)
            assert cv2.imwrite(str(path), array)
    (tmp_path / 'list.txt').write_text('sub/c\nb\n')
    return str(tmp_path)


def _build(root, **kwargs):
    cfg = dict(
        type='mwam_mm.MultiModalSegDataset',
        data_root=root,
        data_prefix=PREFIX,
        img_suffix='.png',
        seg_map_suffix='_gt.png',
        modality_suffix=dict(depth_path='.tiff'),
        metainfo=dict(classes=('road', 'car')))
    cfg.update(kwargs)
    return DATASETS.build(cfg)


def _pipeline(*transforms):
    return [
        dict(type='mwam_mm.LoadModalities', modalities=MODALITIES),
        dict(type='LoadAnnotations'), *transforms
    ]


@pytest.mark.parametrize('ann_file,names', [
    ('', ['b', 'sub/a', 'sub/c']),
    ('list.txt', ['sub/c', 'b']),
])
def test_paths(root, ann_file, names):
    dataset = _build(root, ann_file=ann_file)
    assert len(dataset) == len(names)
    for i, name in enumerate(names):
        info = dataset.get_data_info(i)
        for key, expected in dict(
                img_path=f'image/{name}.png',
                depth_path=f'depth/{name}.tiff',
                thermal_path=f'thermal/{name}.png',
                seg_map_path=f'label/{name}_gt.png').items():
            assert info[key] == osp.join(root, expected)


def test_absolute_paths_in_a_list(root):
    lines = [osp.join(root, 'image', name) for name in ('sub/c', 'b')]
    path = osp.join(root, 'absolute.txt')
    with open(path, 'w') as f:
        f.write('\n'.join(lines))
    by_absolute, by_relative = (
        _build(root, ann_file=name) for name in ('absolute.txt', 'list.txt'))
    for i in range(2):
        infos = [dataset.get_data_info(i)
                 for dataset in (by_absolute, by_relative)]
        assert infos[0]['depth_path'] == infos[1]['depth_path']
        assert infos[0]['seg_map_path'] == infos[1]['seg_map_path']


def test_a_list_that_is_missing_is_named(root):
    with pytest.raises(FileNotFoundError, match="ann_file='.*none.txt'"):
        _build(root, ann_file='none.txt')


def test_end_to_end(root):
    dataset = _build(
        root,
        pipeline=_pipeline(
            dict(type='RandomFlip', prob=.5), dict(type='PackSegInputs')))
    for value, sample in enumerate(dataset):
        assert sample['inputs'].shape == (5, 4, 5)
        np.testing.assert_allclose(
            sample['inputs'][:, 0, 0],
            [value, value, value, 1 + value / 1000, 50 + value],
            rtol=1e-6)
        labels = sample['data_samples'].gt_sem_seg.data
        assert (labels == value % 2).all()


def test_without_data_root_and_trailing_separators(root):
    prefix = {key: osp.join(root, name, '') for key, name in PREFIX.items()}
    dataset = _build(None, data_prefix=prefix)
    assert dataset.get_data_info(1)['depth_path'] == osp.join(
        root, 'depth', 'sub/a.tiff')


def test_plain_use_is_the_base_class(root):
    dataset = _build(
        root, data_prefix=dict(img_path='image'), modality_suffix={})
    paths = [k for k in dataset.get_data_info(0) if k.endswith('_path')]
    assert paths == ['img_path']


@pytest.mark.parametrize('kwargs,kind,match', [
    (dict(data_prefix=dict(PREFIX, depth='depth')), ValueError, "'depth'"),
    (dict(modality_suffix=dict(nir_path='.png')), ValueError, 'nir_path'),
    (dict(img_suffix='.bmp'), FileNotFoundError,
     "no image called '{}.bmp' found in .*image': img_suffix"),
    (dict(data_prefix=dict(PREFIX, img_path='imge')), FileNotFoundError,
     r"data_prefix\['img_path'\]: folder '.*imge' does not exist"),
    (dict(data_prefix=dict(PREFIX, img_path='imge'), modality_suffix={},
          file_names=dict(img_path='{}.png')), FileNotFoundError,
     r"data_prefix\['img_path'\]: folder '.*imge' does not exist"),
])
def test_errors(root, kwargs, kind, match):
    with pytest.raises(kind, match=match):
        _build(root, **kwargs)


@pytest.mark.parametrize('test_mode', [False, True])
@pytest.mark.parametrize('label, message', [
    (np.full((4, 5), 2, np.uint8), r'label 2 .20 pixels., .* 2 classes'),
    (np.full((4, 5), 257, np.uint16), 'uint16 and label 257: labels are up'),
    (np.zeros((4, 5, 3), np.uint8), 'colour image.*LoadPaletteAnnotations'),
    (np.zeros((7, 5), np.uint8), r'\(7, 5\), but .*/image/b.png'),
    (np.zeros((8, 10), np.uint8), r'\(8, 10\), but .* \(4, 5\)'),
    (b'no image', 'cannot be read'),
    (None, 'does not exist'),
])
def test_bad_label_maps(root, label, message, test_mode):
    path = osp.join(root, 'label', 'b_gt.png')
    os.remove(path)
    if isinstance(label, bytes):
        with open(path, 'wb') as file:
            file.write(label)
    elif label is not None:
        cv2.imwrite(path, label)
    load, annotations = _pipeline()
    resize = dict(type='Resize', scale=(10, 8), keep_ratio=True)
    order = [resize, annotations] if test_mode else [annotations, resize]
    dataset = _build(
        root,
        test_mode=test_mode,
        pipeline=[load, *order, dict(type='PackSegInputs')])
    with pytest.raises((FileNotFoundError, ValueError), match=message) as e:
        dataset[0]
    assert path in str(e.value)
    assert dataset[1]['inputs'].shape == (5, 8, 10)


def test_label_map_that_is_turned_by_its_tag(root):
    path = osp.join(root, 'label', 'b_gt.png')
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down, so of the same size
    Image.fromarray(np.zeros((4, 5), np.uint8)).save(path, exif=exif)
    with pytest.raises(ValueError, match='b_gt.png.*orientation 3'):
        _build(root, pipeline=_pipeline(dict(type='PackSegInputs')))[0]


class LoadEdges(LoadAnnotations):
    """Loads something else than labels from the label map."""

    def transform(self, results):
        label = cv2.imread(results['seg_map_path'], cv2.IMREAD_UNCHANGED)
        results['gt_edge_map'] = label + 7
        return results


@pytest.mark.parametrize('place', [0, 1, 2])
def test_a_transform_that_loads_no_label_map(root, place):
    pipeline = _pipeline()
    pipeline.insert(place, dict(type=LoadEdges))
    results = _build(root, pipeline=pipeline)[1]
    assert (results['gt_edge_map'] == 8).all()
    assert (results['gt_seg_map'] == 1).all()
    assert results['seg_fields'] == ['gt_seg_map']


def test_a_label_map_that_nothing_loads_may_be_missing(root):
    os.remove(osp.join(root, 'label', 'b_gt.png'))
    load, _ = _pipeline()
    no_labels = dict(type='mmcv.LoadAnnotations', with_bbox=False,
                     with_label=False)
    assert 'gt_seg_map' not in _build(root, pipeline=[load, no_labels])[0]


def test_bad_label_map_before_the_image(root):
    path = osp.join(root, 'label', 'b_gt.png')
    cv2.imwrite(path, np.full((4, 5), 2, np.uint8))
    load, annotations = _pipeline()
    with pytest.raises(ValueError, match='label 2 .20 pixels') as e:
        _build(
            root,
            pipeline=[annotations, load, dict(type='PackSegInputs')])[0]
    assert path in str(e.value)


@pytest.mark.parametrize('value, dtype', [(1, np.uint16), (255, np.uint8)])
def test_label_maps_of_16_bits_and_ignored_labels_are_fine(
        root, value, dtype):
    path = osp.join(root, 'label', 'b_gt.png')
    cv2.imwrite(path, np.full((4, 5), value, dtype))
    pipeline = _pipeline(dict(type='PackSegInputs'))
    label = _build(root, pipeline=pipeline)[0]['data_samples'].gt_sem_seg
    assert (label.data == value).all()


def test_what_is_ignored_is_the_ignore_index(root):
    path = osp.join(root, 'label', 'b_gt.png')
    cv2.imwrite(path, np.full((4, 5), 255, np.uint8))
    pipeline = _pipeline(dict(type='PackSegInputs'))
    with pytest.raises(ValueError, match='label 255 .*ignore_index=254'):
        _build(root, pipeline=pipeline, ignore_index=254)[0]


def test_pipeline_is_checked(root):
    with pytest.raises(ValueError, match='PhotoMetricDistortion'):
        _build(root, pipeline=_pipeline(dict(type='PhotoMetricDistortion')))


RED_NIR = dict(nir=dict(channels=1), red=dict(channels=1))


@pytest.fixture
def red_nir(tmp_path):
    for value, name in enumerate(('b', 'sub/a')):
        for folder, suffix, array in [
            ('red', '.png', np.full((4, 5), 10 + value, np.uint8)),
            ('nir', '.tif', np.full((4, 5), 50 + value, np.uint8)),
            ('label', '.png', np.full((4, 5), value, np.uint8)),
        ]:
            path = tmp_path / folder / (name + suffix)
            path.parent.mkdir(parents=True, exist_ok=True)
            assert cv2.imwrite(str(path), array)
    return str(tmp_path)


@pytest.mark.parametrize('prefix, modalities', [
    (dict(red_path='red', nir_path='nir'), RED_NIR),
    # One of them in the place of RGB.
    (dict(img_path='red', nir_path='nir'),
     dict(RED_NIR, red=dict(channels=1, path_key='img_path'))),
])
def test_no_modality_is_called_rgb(red_nir, prefix, modalities):
    dataset = _build(
        red_nir,
        data_prefix=dict(prefix, seg_map_path='label'),
        seg_map_suffix='.png',
        modality_suffix=dict(nir_path='.tif'),
        pipeline=[
            dict(type='mwam_mm.LoadModalities', modalities=modalities),
            dict(type='LoadAnnotations'),
            dict(type='PackSegInputs')
        ])
    assert len(dataset) == 2
    for i, sample in enumerate(dataset):
        # In the order of the names: near infrared, red.
        assert sample['inputs'].flatten(1).tolist() == [[50 + i] * 20,
                                                        [10 + i] * 20]
        assert (sample['data_samples'].gt_sem_seg.data == i).all()
        assert osp.isfile(sample['data_samples'].img_path)


def test_a_modality_alone(red_nir):
    dataset = _build(
        red_nir, data_prefix=dict(red_path='red'), modality_suffix={})
    assert [osp.relpath(info['red_path'], red_nir) for info in dataset] == [
        'red/b.png', 'red/sub/a.png']


def test_no_folder_of_images(red_nir):
    with pytest.raises(ValueError, match='no folder of images: it needs '):
        _build(
            red_nir,
            data_prefix=dict(seg_map_path='label'),
            modality_suffix={})
    with pytest.raises(
            FileNotFoundError, match=r"found in data_prefix\['nir_path'"):
        _build(
            red_nir,
            data_prefix=dict(red_path='red', nir_path='nir'),
            modality_suffix={},
            img_suffix='.jpg')


def test_files_of_no_sample_are_not_lost_without_a_word(
        root, tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(file_names, 'print_log',
                        lambda message, *args: said.append(message))
    assert len(_build(root)) == 3
    assert not said
    for name in ('image/sub/a.jpg', 'image/z.jpg', 'depth/sub/a.npy',
                 'label/z_gt.png'):
        (tmp_path / name).touch()
    # This sample has no image, which the others tell.
    (tmp_path / 'image/b.png').unlink()
    assert len(_build(root)) == 2
    images, depths, thermals = said
    assert images.startswith('2 file(s)') and "first: 'sub/a.jpg'" in images
    assert depths.startswith('2 file(s)') and "first: 'b.tiff'" in depths
    assert thermals.startswith('1 file(s)') and "first: 'b.png'" in thermals
    # Files of several kinds in one folder are told apart by their patterns.
    said.clear()
    for name in ('x_rgb.png', 'x_depth.tiff', 'x_gt.png', 'y_depth.tiff'):
        (tmp_path / 'one' / name).parent.mkdir(exist_ok=True)
        (tmp_path / 'one' / name).touch()
    one = dict(
        data_prefix=dict.fromkeys(
            ('img_path', 'depth_path', 'seg_map_path'), 'one'),
        modality_suffix={},
        file_names=dict(img_path='{}_rgb.png', depth_path='{}_depth.tiff',
                        seg_map_path='{}_gt.png'))
    assert len(_build(root, **one)) == 1
    message, = said
    assert message.startswith('1 file(s)') and "'y_depth.tiff'" in message
    # Nothing is left out of a list.
    said.clear()
    assert len(_build(root, ann_file='list.txt')) == 2
    assert not said
