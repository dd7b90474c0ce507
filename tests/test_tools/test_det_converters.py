"""Tests of the converters for detection."""
import json
import sys

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import init_default_scope

from tests import benchmarks, det_benchmarks
from tests.benchmarks import REPO, write

pytest.importorskip('mmdet')
pytest.importorskip('mmcv.ops')
from mwam_mm.datasets import (  # noqa: E402
    LLVIPDataset,
    MultiModalCocoDataset,
)

SIZE = 48, 64
CLASSES = ['person', 'car', 'dog', 'truck']
# Class, x, y, width and height in pixels, per image; None: no label file
BOXES = dict(
    a=[(0, 4, 5, 20, 30), (3, 30, 8, 24, 16)],
    b=[(1, 10, 4, 40, 36)],
    c=None,
    d=[(2, 0, 0, 32, 24), (1, 40, 30, 16, 12)],
    e=[])
SPLITS = dict(train='abc', val='de')


def write_tree(root, rgb, infrared, depth, labels, splits=SPLITS):
    """RGB, 16-bit infrared and depth; folders with {split} and {name}."""
    rng = np.random.default_rng(0)
    for split, names in splits.items():
        for name in names:
            for pattern, image in (
                (rgb, rng.integers(0, 256, (*SIZE, 3), np.uint8)),
                (infrared, rng.integers(7000, 30000, SIZE).astype(np.uint16)),
                (depth, rng.integers(0, 9000, SIZE).astype(np.uint16))):
                write(root / pattern.format(split=split, name=name), image)
            if BOXES[name] is not None:
                path = root / labels.format(split=split, name=name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(''.join(
                    f'{c} {(x + w / 2) / SIZE[1]:.6f} '
                    f'{(y + h / 2) / SIZE[0]:.6f} {w / SIZE[1]:.6f} '
                    f'{h / SIZE[0]:.6f}\n' for c, x, y, w, h in BOXES[name]))
    (root / 'data.yaml').write_text(
        f'path: .\ntrain: images/train\nnc: 4\nnames: {CLASSES}\n')
    return root


FOLDERS = ['rgb=images', 'infrared=infrared', 'depth=depth']
LAYOUTS = dict(
    split_inside=(('images/{split}/{name}.jpg', 'infrared/{split}/{name}.png',
                   'depth/{split}/{name}.tiff', 'labels/{split}/{name}.txt'),
                  FOLDERS),
    split_outside=(
        ('{split}/images/{name}.png', '{split}/infrared/{name}.png',
         '{split}/depth/{name}.png', '{split}/labels/{name}.txt'), FOLDERS),
    nested=(('images/rgb/{split}/x/{name}.jpg', 'images/ir/{split}/x/'
             '{name}.png', 'images/depth/{split}/x/{name}.png',
             'labels/{split}/x/{name}.txt'),
            ['rgb=images/rgb', 'infrared=images/ir', 'depth=images/depth']),
    suffixes=(
        ('{split}/{name}_rgb.png', '{split}/{name}_ir.png',
         '{split}/{name}_d.png', '{split}/{name}.txt'),
        ['rgb={split}/*_rgb.png', 'infrared={split}/*_ir.png',
         'depth={split}/*_d.png', '--labels', '{split}']),
    lists=(('images/{name}.jpg', 'infrared/{name}.png', 'depth/{name}.png',
            'labels/{name}.txt'), FOLDERS))


@pytest.fixture
def yolo(load_tool, monkeypatch, capsys):

    def run(*argv):
        monkeypatch.setattr(sys, 'argv', ['yolo.py', *map(str, argv)])
        load_tool('dataset_converters/yolo').main()
        return capsys.readouterr().out

    return run


@pytest.mark.parametrize('layout', LAYOUTS)
def test_yolo_layouts(yolo, tmp_path, layout):
    patterns, arguments = LAYOUTS[layout]
    root = write_tree(tmp_path / 'my', *patterns)
    if layout == 'lists':
        (root / 'train.txt').write_text('./images/a.jpg\nimages/b.jpg\nc\n')
        (root / 'val.txt').write_text('d.jpg\ne.jpg\n')
    out = yolo(root, '--modalities', *arguments)
    assert 'train.json: 3 images, 1 person, 1 car, 0 dog, 1 truck' in out
    for split, names in SPLITS.items():
        dataset = MultiModalCocoDataset(
            data_root=str(root), ann_file=f'annotations/{split}.json')
        assert dataset.metainfo['classes'] == tuple(CLASSES)
        assert len(dataset) == len(names)
        for i, name in enumerate(names):
            info = dataset.get_data_info(i)
            for key, pattern in zip(
                ('img_path', 'infrared_path', 'depth_path'), patterns):
                assert info[key] == str(
                    root / pattern.format(split=split, name=name))
            expected = BOXES[name] or []
            assert [b['bbox_label'] for b in info['instances']
                    ] == [c for c, *_ in expected]
            for instance, (_, x, y, w, h) in zip(info['instances'], expected):
                np.testing.assert_allclose(
                    instance['bbox'], [x, y, x + w, y + h], atol=1e-3)


@pytest.fixture
def tree(tmp_path):
    return write_tree(tmp_path / 'my', *LAYOUTS['split_inside'][0])


def test_yolo_class_files(yolo, tree):
    (tree / 'data.yaml').write_text(
        'names:\n' + ''.join(f'  {i}: {c}\n' for i, c in enumerate(CLASSES)))
    yolo(tree, '--modalities', *FOLDERS, '-o', tree / 'one')
    (tree / 'data.yaml').unlink()
    (tree / 'classes.txt').write_text('\n'.join(CLASSES))
    yolo(tree, '--modalities', *FOLDERS, '-o', tree / 'two')
    one, two = ((tree / name / 'train.json').read_text()
                for name in ('one', 'two'))
    assert one == two


@pytest.mark.parametrize('order', [[1, 0, 2], [1, 2]])
def test_yolo_image_is_rgb_wherever_it_is_named(yolo, tree, order):
    yolo(tree, '--modalities', *(FOLDERS[i] for i in order))
    info = MultiModalCocoDataset(
        data_root=str(tree),
        ann_file='annotations/train.json').get_data_info(0)
    image = 'images/train/a.jpg' if 0 in order else 'infrared/train/a.png'
    assert info['img_path'] == str(tree / image)
    assert info['infrared_path'] == str(tree / 'infrared/train/a.png')
    assert info['depth_path'] == str(tree / 'depth/train/a.tiff')


@pytest.mark.parametrize('line, message', [
    ('0 .5 .5 .2', 'has 4 fields'),
    ('0 .5 .5 .2 .2 .9', 'has 6 fields'),
    ('4 .5 .5 .2 .2', "class '4'; there are 4"),
    ('-1 .5 .5 .2 .2', "class '-1'"),
    ('0 .5 half .2 .2', 'no number'),
    ('0 .5 1.5 .2 .2', 'between 0 and 1'),
    ('0 .5 nan .2 .2', 'between 0 and 1'),
    ('0 .5 .5 0 .2', 'between 0 and 1'),
    ('0 32 24 10 12', 'between 0 and 1'),
])
def test_yolo_bad_lines(exit_of_tool, tree, line, message):
    path = tree / 'labels/train/b.txt'
    path.write_text(f'1 .5 .5 .25 .25\n\n{line}\n')
    code, said = exit_of_tool('dataset_converters/yolo', str(tree),
                              '--modalities', *FOLDERS)
    assert code == 1 and f"{str(path)!r}, line 3: '{line}'" in said
    assert message in said
    assert not (tree / 'annotations').exists()


def test_yolo_rounded_lines(yolo, tree):
    path = tree / 'labels/train/b.txt'
    path.write_text('1 .5 .5 1.000001 .25\n1 1.000001 -1e-7 .25 .25\n')
    assert 'train.json: 3 images, 1 person, 2 car' in yolo(
        tree, '--modalities', *FOLDERS)


def test_yolo_writes_nothing_unless_all_splits_are_right(
        exit_of_tool, yolo, tree):
    path = tree / 'labels/val/d.txt'
    path.write_text('9 .5 .5 .2 .2\n')
    code, said = exit_of_tool('dataset_converters/yolo', str(tree),
                              '--modalities', *FOLDERS)
    assert code == 1 and str(path) in said
    path.write_text('')
    yolo(tree, '--modalities', *FOLDERS)


def test_yolo_bad_trees(exit_of_tool, yolo, tree):

    def said(*argv):
        code, text = exit_of_tool('dataset_converters/yolo', str(tree),
                                  '--modalities', *(argv or FOLDERS))
        assert code == 1
        return text

    assert 'thermal/train' in said('rgb=images', 'infrared=thermal')
    assert 'no split found' in said('rgb=pictures')
    assert "'rgb'" in said('rgb')
    assert '--optional' in said(*FOLDERS, '--optional', 'rgb')
    assert 'none of 3 images has a label' in said(*FOLDERS, '--labels',
                                                  'depth')
    (tree / 'labels/train/z.txt').write_text('')
    assert 'labels/train/z.txt' in said()
    (tree / 'labels/train/z.txt').unlink()
    (tree / 'labels/train/classes.txt').write_text('person')  # of LabelImg
    path = tree / 'infrared/train/b.png'
    cv2.imwrite(str(path), np.zeros((9, 9), np.uint16))
    assert str(path) in said() and '(9, 9)' in said()
    path.unlink()
    assert str(tree / 'images/train/b.jpg') in said()
    assert '--optional infrared' in said()

    yolo(tree, '--modalities', *FOLDERS, '--optional', 'infrared')
    content = json.loads((tree / 'annotations/train.json').read_text())
    assert content['images'][1]['infrared_path'] == 'infrared/train/b'
    again = said(*FOLDERS, '--optional', 'infrared')
    assert 'train.json' in again and 'exists' in again
    (tree / 'data.yaml').write_text('names: [a, a]')
    assert 'names a class twice' in said()
    (tree / 'data.yaml').unlink()
    assert 'data.yaml' in said()


def test_yolo_bad_lists(exit_of_tool, tmp_path):
    root = write_tree(tmp_path / 'my', *LAYOUTS['lists'][0])
    (root / 'train.txt').write_text('a\nz\n')
    for lines, message in (('a\nz\n', "line 2: there is no image of 'z'"),
                           ('a\na\n', 'listed twice'), ('\n', 'is empty')):
        (root / 'train.txt').write_text(lines)
        code, said = exit_of_tool('dataset_converters/yolo', str(root),
                                  '--modalities', *FOLDERS)
        assert code == 1 and 'train.txt' in said and message in said


def test_yolo_to_seven_combinations(yolo, tree, tmp_path):
    """The recipe of docs/datasets.md, on a miniature."""
    yolo(tree, '--modalities', *FOLDERS)
    metrics = det_benchmarks.train(
        'coco/three-stream-fcos-r18_md_mwam_coco.py', tree, tmp_path / 'work')
    scores = {
        key.rsplit('/', 2)[0]
        for key in metrics if key.endswith('/coco/bbox_mAP')
    }
    assert {
        'rgb', 'infrared', 'depth', 'rgb+infrared', 'rgb+depth',
        'depth+infrared', 'rgb+depth+infrared', 'avg'
    } <= scores


def test_check_dataset(load_tool, exit_of_tool, yolo, tree, monkeypatch,
                       capsys):
    yolo(tree, '--modalities', *FOLDERS)
    options = [
        str(REPO / 'configs/coco/three-stream-fcos-r18_md_coco.py'),
        '--cfg-options',
        *(f'{split}_dataloader.dataset.data_root={tree}'
          for split in ('train', 'val', 'test'))
    ]
    monkeypatch.setattr(sys, 'argv', ['check_dataset.py', *options])
    load_tool('analysis_tools/check_dataset').main()
    out = capsys.readouterr().out
    assert 'train: 3 samples, 0 of them bad' in out
    assert 'infrared_path: 3 files' in out and 'uint16' in out
    assert ('boxes: person 1, car 1, dog 0, truck 1; 0 to ignore, 1 samples '
            'without any') in out
    assert 'No problem found' in out

    path = tree / 'images/train/b.jpg'
    cv2.imwrite(str(path), np.zeros((24, 32, 3), np.uint8))
    (tree / 'depth/train/c.tiff').unlink()
    code, said = exit_of_tool('analysis_tools/check_dataset', *options)
    assert code == 1 and '2 bad samples' in said
    # RGB is compared with the modality that comes next.
    assert 'depth/train/b.tiff' in said and 'depth/train/c.tiff' in said
    content = json.loads((tree / 'annotations/val.json').read_text())
    content['annotations'][0]['bbox'] = [70, 50, 5, 5]
    (tree / 'annotations/val.json').write_text(json.dumps(content))
    code, said = exit_of_tool('analysis_tools/check_dataset', *options,
                              '--split', 'val')
    assert code == 1 and 'annotations/val.json' in said
    assert 'outside the image' in said


def test_annotations_of_another_image_size(exit_of_tool, yolo, tree):
    yolo(tree, '--modalities', *FOLDERS)
    path = tree / 'annotations/train.json'
    path.write_text(path.read_text().replace('"width": 64', '"width": 128'))
    code, said = exit_of_tool(
        'analysis_tools/check_dataset',
        str(REPO / 'configs/coco/three-stream-fcos-r18_md_coco.py'),
        '--split', 'train', '--cfg-options',
        f'train_dataloader.dataset.data_root={tree}')
    assert code == 1 and 'boxes are of another image' in said


def test_to_coco(load_tool, exit_of_tool, tmp_path, monkeypatch, capsys):
    root = det_benchmarks.write_llvip(tmp_path / 'llvip')
    monkeypatch.setattr(sys, 'argv', ['to_coco.py', 'llvip', str(root)])
    load_tool('dataset_converters/to_coco').main()
    assert 'train.json: 3 images, 5 boxes' in capsys.readouterr().out
    for split in ('train', 'test'):
        copy = MultiModalCocoDataset(
            data_root=str(root), ann_file=f'annotations/{split}.json')
        original = LLVIPDataset(str(root), split)
        assert [copy.get_data_info(i) for i in range(len(copy))] == [
            original.get_data_info(i) for i in range(len(original))
        ]
    code, said = exit_of_tool('dataset_converters/to_coco', 'llvip',
                              str(root))
    assert code == 1 and 'exists' in said
    (root / 'Annotations/010005.xml').unlink()
    code, said = exit_of_tool('dataset_converters/to_coco', 'llvip',
                              str(root), '-o', str(tmp_path / 'out'))
    assert code == 1 and '010005.xml' in said
    assert not (tmp_path / 'out').exists()


def test_to_coco_leaves_out_what_the_dataset_leaves_out(
        load_tool, tmp_path, monkeypatch):
    root = det_benchmarks.write_llvip(tmp_path / 'llvip')
    det_benchmarks.voc(root / 'Annotations/010001.xml', [
        ('person', 10, 10, 10, 40),
        ('person', 70, 10, 90, 40),
        ('person', 50, 10, 90, 40),
    ], det_benchmarks.SIZE)
    monkeypatch.setattr(sys, 'argv', ['to_coco.py', 'llvip', str(root)])
    said = []
    monkeypatch.setattr('mwam_mm.datasets.multi_modal_coco.print_log',
                        lambda message, **kwargs: said.append(message))
    load_tool('dataset_converters/to_coco').main()
    assert any(line.startswith('2 box(es) cannot be used and are left out')
               for line in said)
    copy = MultiModalCocoDataset(
        data_root=str(root), ann_file='annotations/train.json')
    instance, = copy.get_data_info(0)['instances']
    assert instance['bbox'] == [50, 10, 64, 40]


def test_sun_rgbd_boxes(load_tool, tmp_path, monkeypatch):
    pytest.importorskip('h5py', reason="the publishers' labels are HDF5")
    benchmarks.write_sun_rgbd(tmp_path)
    path = det_benchmarks.write_sun_boxes(tmp_path)
    out = tmp_path / 'out'
    monkeypatch.setattr(sys, 'argv', [
        'sun_rgbd.py',
        str(tmp_path / 'SUNRGBD'),
        str(tmp_path / 'SUNRGBDtoolbox'), '--boxes',
        str(path), '-o',
        str(out)
    ])
    load_tool('dataset_converters/sun_rgbd').main()
    init_default_scope('mmdet')
    cfg = Config.fromfile(
        REPO / 'configs/sun_rgbd/two-stream-retinanet-r50_md_sun-rgbd.py')
    dataset = load_sun(cfg, out, 'train')
    assert len(dataset) == 3
    info = dataset.get_data_info(0)
    assert info['img_path'] == str(out / 'train/rgb/00002.jpg')
    assert info['depth_path'] == str(out / 'train/depth/00002.png')
    classes = dataset.metainfo['classes']
    # no 'unicorn', none without numbers, and clipped
    assert [(classes[i['bbox_label']], i['bbox'])
            for i in info['instances']] == [('chair', [2, 3, 22, 33]),
                                            ('sofa', [40, 10, 56, 30])]
    assert dataset.get_data_info(1)['instances'] == []
    metrics = det_benchmarks.run(
        det_benchmarks.shrink(cfg, out, tmp_path / 'work'))
    assert {'rgb+depth/coco/bbox_mAP', 'rgb/coco/bbox_mAP'} <= set(metrics)


def load_sun(cfg, root, split):
    from mwam_mm.datasets import SUNRGBDDetDataset
    assert cfg.train_dataloader.dataset.type == 'mwam_mm.SUNRGBDDetDataset'
    return SUNRGBDDetDataset(str(root), split)
