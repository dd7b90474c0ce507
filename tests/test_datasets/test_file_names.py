"""Files of a sample by pattern and from lists."""
import json

import numpy as np
import pytest
from mmengine.registry import init_default_scope

from mwam_mm.datasets.file_names import FileNames, read_columns, read_lines
from mwam_mm.registry import DATASETS
from tests.benchmarks import write


class TestFileNames:

    @pytest.mark.parametrize('pattern, name, common', [
        ('rgb_{}.png', 'a/rgb_01.png', 'a/01'),
        ('{}_ir.png', '01_ir.png', '01'),
        ('rgb.png', 'scene7/rgb.png', 'scene7/'),
        ('rgb_{}.png', 'a/depth_01.png', None),
        ('rgb_{}.png', 'rgb_.jpg', None),
        ('aba{}ba', 'aba', None),
        ('rgb.png', 'my_rgb.png', None),
        ('{}/rgb.png', 'scene7/rgb.png', 'scene7'),
    ])
    def test_common(self, pattern, name, common):
        names = FileNames(dict(img_path=pattern))
        assert names.common('img_path', name) == common
        if common is not None:
            assert names.name('img_path', common) == name

    @pytest.mark.parametrize('pattern', ['{}_{}.png', 'rgb/{}.png'])
    def test_patterns_that_are_none(self, pattern):
        with pytest.raises(ValueError, match=r"file_names\['img_path'\]"):
            FileNames(dict(img_path=pattern))


@pytest.mark.parametrize('line', [
    'a/1.png 7.png', 'a/1.png\t7.png', 'a/1.png, 7.png', ' a/1.png  7.png '
])
def test_columns(tmp_path, line):
    path = tmp_path / 'list.txt'
    path.write_text(f'{line}\n\n')
    keys = ('img_path', 'depth_path')
    folders = dict(img_path='x', depth_path='y')
    assert read_columns(str(path), keys, folders) == [
        dict(img_path='x/a/1.png', depth_path='y/7.png')
    ]
    path.write_text(f'{line}\na/2.png\n')
    with pytest.raises(ValueError, match=r'list.txt.*line 2 has 1 column'):
        read_columns(str(path), keys, folders)


def test_lines_of_any_editor(tmp_path):
    path = tmp_path / 'list.txt'
    for encoding in ('utf-8', 'utf-8-sig'):
        path.write_text('größe/1\n \n2\n', encoding=encoding)
        assert read_lines(str(path)) == [(1, 'größe/1'), (3, '2')]
    path.write_text('größe/1\n', encoding='latin-1')
    with pytest.raises(ValueError, match='list.txt.* is no text in UTF-8'):
        read_lines(str(path))


MODALITIES = dict(
    rgb=dict(channels=3, bgr_to_rgb=True), depth=dict(channels=1))


class TestSegmentation:

    @pytest.fixture(autouse=True)
    def _scope(self):
        init_default_scope('mmseg')

    def files(self, root, **names):
        """Two samples, whose values are their numbers."""
        for i, scene in enumerate('ab'):
            for kind, name in names.items():
                shape = (4, 5, 3) if kind == 'rgb' else (4, 5)
                write(root / name.format(s=scene, i=i),
                      np.full(shape, i, np.uint8))

    def load(self, root, **kwargs):
        dataset = DATASETS.build(
            dict(
                type='mwam_mm.MultiModalSegDataset',
                data_root=str(root),
                metainfo=dict(classes=('a', 'b')),
                pipeline=[
                    dict(
                        type='mwam_mm.LoadModalities', modalities=MODALITIES),
                    dict(type='LoadAnnotations'),
                    dict(type='PackSegInputs')
                ],
                **kwargs))
        values = []
        for sample in dataset:
            values.append({
                int(v)
                for v in (*sample['inputs'].unique(),
                          *sample['data_samples'].gt_sem_seg.data.unique())
            })
        return values

    @pytest.mark.parametrize('names, patterns', [
        (dict(rgb='{s}/rgb_{i}.png', depth='{s}/depth_{i}.png',
              label='{s}/{i}_gt.png'),
         dict(img_path='rgb_{}.png', depth_path='depth_{}.png',
              seg_map_path='{}_gt.png')),
        (dict(rgb='{s}/rgb.png', depth='{s}/d.png', label='{s}/gt.png'),
         dict(img_path='rgb.png', depth_path='d.png', seg_map_path='gt.png')),
    ])
    def test_in_one_folder(self, tmp_path, names, patterns):
        self.files(tmp_path, **names)
        assert self.load(
            tmp_path,
            data_prefix=dict.fromkeys(patterns, ''),
            file_names=patterns) == [{0}, {1}]

    def test_listed_by_what_they_have_in_common(self, tmp_path):
        self.files(
            tmp_path, rgb='v/x_{i}.png', depth='d/x_{i}.png',
            label='l/{i}.png')
        (tmp_path / 'list.txt').write_text('1\n')
        kwargs = dict(
            ann_file='list.txt',
            data_prefix=dict(img_path='v', depth_path='d', seg_map_path='l'))
        patterns = dict(img_path='x_{}.png', seg_map_path='{}.png')
        assert self.load(tmp_path, file_names=patterns, **kwargs) == [{1}]
        with pytest.raises(ValueError, match='give either'):
            self.load(tmp_path, file_names=patterns,
                      modality_suffix=dict(depth_path='.png'), **kwargs)
        with pytest.raises(ValueError, match='needs one for img_path'):
            self.load(tmp_path, file_names=dict(depth_path='x_{}.png'),
                      **kwargs)
        with pytest.raises(ValueError,
                           match=r"\['thermal_path'\].*add.*data_prefix"):
            self.load(tmp_path, **kwargs,
                      file_names=dict(patterns, thermal_path='{}.png'))
        del kwargs['ann_file']
        with pytest.raises(FileNotFoundError, match='y_{}.png'):
            self.load(tmp_path, **kwargs,
                      file_names=dict(patterns, img_path='y_{}.png'))

    def test_columns(self, tmp_path):
        self.files(
            tmp_path, rgb='v/{s}.png', depth='ir/{i}.png',
            label='label/{i}{s}.png')
        (tmp_path / 'list.txt').write_text(
            'b.png ir/1.png label/1b.png\na.png ir/0.png label/0a.png\n')
        kwargs = dict(
            ann_file='list.txt',
            data_prefix=dict(img_path='v'),
            columns=('img_path', 'depth_path', 'seg_map_path'))
        assert self.load(tmp_path, **kwargs) == [{1}, {0}]
        kwargs['columns'] = ('depth_path', 'seg_map_path')
        with pytest.raises(ValueError, match='columns=.*img_path'):
            self.load(tmp_path, **kwargs)


def test_detection(tmp_path):
    pytest.importorskip('mmdet')
    pytest.importorskip('mmcv.ops')
    init_default_scope('mmdet')
    content = dict(
        images=[
            dict(id=1, file_name='s/rgb_7.jpg', height=4, width=5),
        ],
        annotations=[],
        categories=[dict(id=1, name='car')])

    def info(**kwargs):
        (tmp_path / 'ann.json').write_text(json.dumps(content))
        return DATASETS.build(
            dict(
                type='mwam_mm.MultiModalCocoDataset',
                data_root=str(tmp_path),
                ann_file='ann.json',
                data_prefix=dict(img_path='v', depth_path='d', ir_path='i'),
                pipeline=[],
                **kwargs)).get_data_info(0)

    patterns = dict(img_path='rgb_{}.jpg', depth_path='{}_d.png')
    found = info(file_names=patterns)
    assert found['depth_path'] == str(tmp_path / 'd/s/7_d.png')
    assert found['ir_path'] == str(tmp_path / 'i/s/rgb_7.jpg')
    with pytest.raises(ValueError, match='give either'):
        info(file_names=patterns, modality_suffix=dict(depth_path='.png'))
    with pytest.raises(ValueError, match="'x_path'"):
        info(file_names=dict(patterns, x_path='{}'))
    content['images'][0]['file_name'] = 's/7.jpg'
    with pytest.raises(ValueError, match=r"'s/7.jpg' is not called as"):
        info(file_names=patterns)
