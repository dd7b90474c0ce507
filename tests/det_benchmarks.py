"""Public detection benchmarks in miniature, as their publishers have them."""
from pathlib import Path

import numpy as np
from mmengine.config import Config
from mmengine.runner import Runner

from tests.benchmarks import REPO, SUN_SEQUENCES, write

SIZE = 48, 64  # height, width


def images(rng, size=SIZE):
    """A colour and a grey image."""
    return (rng.integers(0, 256, (*size, 3), np.uint8),
            rng.integers(0, 256, size, np.uint8))


def voc(path, objects, size=SIZE):
    """A Pascal VOC file of (name, xmin, ymin, xmax, ymax)."""
    items = ''.join(
        f'<object><name>{name}</name><pose>Unspecified</pose>'
        f'<truncated>0</truncated><difficult>0</difficult><bndbox>'
        f'<xmin>{x1}</xmin><ymin>{y1}</ymin><xmax>{x2}</xmax>'
        f'<ymax>{y2}</ymax></bndbox></object>'
        for name, x1, y1, x2, y2 in objects)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f'<annotation><folder>x</folder><filename>{path.stem}.jpg</filename>'
        f'<size><width>{size[1]}</width><height>{size[0]}</height>'
        f'<depth>3</depth></size><segmented>0</segmented>{items}'
        '</annotation>')


def write_llvip(root, train=3, test=2, size=SIZE):
    rng = np.random.default_rng(0)
    number = 10001
    for split, count in (('train', train), ('test', test)):
        for i in range(count):
            name = f'{number:06d}'
            number += 1
            color, grey = images(rng, size)
            write(root / f'visible/{split}/{name}.jpg', color)
            # As published: three equal channels
            write(root / f'infrared/{split}/{name}.jpg',
                  np.stack([grey] * 3, -1))
            voc(root / f'Annotations/{name}.xml',
                [('person', 4 + i, 5, 24 + i, 40),
                 ('person', 30, 2, 41, 30)][:2 - (i == 1)], size)
    return root


def write_flir_aligned(root):
    rng = np.random.default_rng(0)
    lists = dict(train=[2, 5, 9], validation=[8863, 8870])
    for split, numbers in lists.items():
        stems = [f'FLIR_{n:05d}' for n in numbers]
        for stem in stems:
            color, grey = images(rng)
            write(root / f'JPEGImages/{stem}_RGB.jpg', color)
            write(root / f'JPEGImages/{stem}_PreviewData.jpeg', grey)
            voc(root / f'Annotations/{stem}_PreviewData.xml',
                [('car', 4, 5, 44, 30), ('person', 50, 3, 58, 24),
                 ('dog', 10, 30, 20, 40), ('bicycle', 30, 20, 50, 44)])
        (root / f'align_{split}.txt').write_text(
            '\n'.join(f'{stem}_PreviewData' for stem in stems) + '\n')
    return root


def write_m3fd(root, count=6):
    rng = np.random.default_rng(0)
    names = ('People', 'Car', 'Bus', 'Lamp', 'Motorcycle', 'Truck')
    for i in range(count):
        color, grey = images(rng)
        write(root / f'Vis/{i:05d}.png', color)
        write(root / f'Ir/{i:05d}.png', np.stack([grey] * 3, -1))
        voc(root / f'Annotation/{i:05d}.xml',
            [(names[i % 6], 3, 4, 33, 40), ('People', 40, 5, 50, 45)])
    return root


def write_kaist(root):
    rng = np.random.default_rng(0)
    lists = {
        'train-all-02': ['set00/V000/I00001', 'set00/V001/I00003',
                         'set03/V000/I00005'],
        'test-all-20': ['set06/V000/I00019', 'set09/V000/I00039'],
    }
    objects = [('person', 4, 5, 12, 30), ('people', 30, 5, 20, 30),
               ('person?', 52, 8, 10, 20), ('cyclist', 2, 36, 20, 10)]
    for name, frames in lists.items():
        for frame in frames:
            folder, stem = frame.rsplit('/', 1)
            color, grey = images(rng)
            write(root / f'images/{folder}/visible/{stem}.jpg', color)
            write(root / f'images/{folder}/lwir/{stem}.jpg',
                  np.stack([grey] * 3, -1))
            if name.startswith('train'):
                path = (root / 'annotations-xml-new-sanitized'
                        / f'{frame}.xml')
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text('<annotation>' + ''.join(
                    f'<object><name>{n}</name><bndbox><x>{x}</x><y>{y}</y>'
                    f'<w>{w}</w><h>{h}</h></bndbox></object>'
                    for n, x, y, w, h in objects) + '</annotation>')
            else:
                path = root / 'annotations' / f'{frame}.txt'
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text('% bbGt version=3\n' + ''.join(
                    f'{n} {x} {y} {w} {h} 0 0 0 0 0 0 0\n'
                    for n, x, y, w, h in objects)
                                + 'person 40 2 8 20 0 0 0 0 0 1 0\n')
        path = root / f'imageSets/{name}.txt'
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('\n'.join(frames) + '\n')
    return root


def _polygon(name, points):
    return f'<object><name>{name}</name><polygon>' + ''.join(
        f'<x{i}>{x}</x{i}><y{i}>{y}</y{i}>'
        for i, (x, y) in enumerate(points, 1)) + '</polygon></object>'


def write_drone_vehicle(root):
    rng = np.random.default_rng(0)
    spellings = ['feright car', 'feright_car', 'feright', 'truvk', '*',
                 'freight car']
    number = 0
    for split, count in (('train', 3), ('val', 2), ('test', 2)):
        for i in range(count):
            number += 1
            frame = np.full((SIZE[0] + 200, SIZE[1] + 200, 3), 255, np.uint8)
            for suffix in ('img', 'imgr'):
                color, grey = images(rng)
                image = frame.copy()
                image[100:-100, 100:-100] = (
                    color if suffix == 'img' else grey[..., None])
                write(root / f'{split}/{split}{suffix}/{number:05d}.jpg',
                      image)
            objects = [
                # A diamond around (130, 120)
                _polygon('car', [(130, 110), (140, 120), (130, 130),
                                 (120, 120)]),
                _polygon(spellings[number % 6], [(142, 112), (160, 112),
                                                 (160, 140), (142, 140)]),
                # half in the border, and wholly
                _polygon('bus', [(90, 104), (112, 104), (112, 116),
                                 (90, 116)]),
                _polygon('van', [(10, 10), (30, 10), (30, 20), (10, 20)]),
                '<object><name>truck</name><bndbox><xmin>102</xmin>'
                '<ymin>130</ymin><xmax>118</xmax><ymax>145</ymax></bndbox>'
                '</object>',
                '<object><name>van</name></object>',
            ]
            for suffix, part in (('label', objects[:1]),
                                 ('labelr', objects)):
                path = root / f'{split}/{split}{suffix}/{number:05d}.xml'
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text('<annotation>' + ''.join(part)
                                + '</annotation>')
    return root


def write_vedai(root):
    rng = np.random.default_rng(0)
    for resolution, scale in ((1024, 1), (512, .5)):
        size = (int(48 * scale), int(64 * scale))
        annotations = root / f'Annotations{resolution}'
        for i in range(5):
            color, grey = images(rng, size)
            for kind, image in (('co', color), ('ir', grey)):
                write(root / f'Vehicules{resolution}/{i:08d}_{kind}.png',
                      image)
            annotations.mkdir(parents=True, exist_ok=True)
            corners = np.array([20, 34, 30, 16, 8, 18, 24, 14]) * scale
            tail = ' '.join(f'{v:g}' for v in corners)
            (annotations / f'{i:08d}.txt').write_text(''.join(
                f'{25 * scale:.6f} {16 * scale:.6f} 0.61 {number} 1 0 {tail}'
                '\n' for number in ((1, 11, 23, 31, 10)[i], 7))
                + f'{9 * scale} {9 * scale} 9 1 0\n')
        for fold in range(1, 11):
            names = [f'{i:08d}' for i in range(5)]
            (annotations / f'fold{fold:02d}.txt').write_text(
                '\n'.join(names[:3]))
            (annotations / f'fold{fold:02d}test.txt').write_text(
                '\n'.join(names[3:]))
    return root


def write_urban_trees(root):
    rng = np.random.default_rng(0)
    lists = dict(train=['a_2020_0', 'a_2020_1', 'b_2020_0'],
                 val=['c_2020_0'], test=['d_2020_0', 'd_2020_1'])
    for split, names in lists.items():
        for name in names:
            write(root / f'images/{name}.tif',
                  rng.integers(0, 256, (256, 256, 4), np.uint8))
            if name != 'b_2020_0':  # a tile without trees
                path = root / f'csv/{name}.csv'
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text('x,y\n76,10\n252,217\n128,128\n')
        (root / f'{split}_socal.txt').write_text('\n'.join(names) + '\n')
    return root


def shrink(cfg, data_root, work_dir, scale=SIZE[::-1], max_epochs=1):
    """Make a shipped config small enough for a test, on another tree.

    Args:
        cfg (Config): The config, changed in place.
        data_root (Path): The tree.
        work_dir (Path): Folder of the run.
        scale (tuple[int]): Width and height of the images.
        max_epochs (int): Length of the training.
    """
    levels = cfg.model.backbone.branch.get('out_indices', (0, 1, 2, 3))
    channels = [8 * 2**i for i in levels]
    cfg.merge_from_dict({
        'work_dir': str(work_dir),
        'experiment_name': Path(work_dir).name,
        'log_level': 'WARNING',
        'model.backbone.branch.depth': 18,
        'model.backbone.branch.base_channels': 8,
        'model.backbone.branch.stem_channels': 8,
        'model.neck.in_channels': channels,
        'model.neck.neck.in_channels': channels,
        'model.neck.neck.out_channels': 16,
        'model.bbox_head.in_channels': 16,
        'model.bbox_head.feat_channels': 16,
        'model.bbox_head.stacked_convs': 1,
        'train_dataloader.batch_size': 2,
        'default_hooks.logger.interval': 1,
    })
    if 'Epoch' in cfg.train_cfg.type:
        cfg.train_cfg.update(max_epochs=max_epochs, val_interval=max_epochs)
    else:
        cfg.train_cfg.update(max_iters=2, val_interval=2)
    for split in ('train', 'val', 'test'):
        loader = cfg[f'{split}_dataloader']
        loader.update(num_workers=0, persistent_workers=False)
        loader.dataset.data_root = str(data_root)
        for transform in loader.dataset.pipeline:
            if transform.type == 'Resize':
                transform.scale = scale
    return cfg


def train(name, data_root, work_dir, **kwargs):
    """Train a shrunken shipped config and validate.

    Returns:
        dict: What the validation reported.
    """
    cfg = shrink(
        Config.fromfile(REPO / 'configs' / name), data_root, work_dir,
        **kwargs)
    return run(cfg)


def run(cfg):
    """Train and return the metrics of the last validation."""
    runner = Runner.from_cfg(cfg)
    runner.train()
    return {
        key[4:]: value.current()
        for key, value in runner.message_hub.log_scalars.items()
        if key.startswith('val/')
    }


def write_sun_boxes(folder):
    """The publishers' SUNRGBDMeta2DBB_v2.mat for the pairs of write_sun_rgbd.

    In another order than SUNRGBDMeta.mat, as there.
    """
    import scipy.io
    fields = ('sequenceName', 'rgbname', 'groundtruth2DBB')
    meta = np.zeros((1, len(SUN_SEQUENCES)), [(f, object) for f in fields])
    for i, (sequence, name, _) in enumerate(reversed(SUN_SEQUENCES)):
        items = [([2, 3, 20, 30], 'chair'), ([40, 10, 30, 20], 'sofa'),
                 ([1, 1, 5, 5], 'unicorn'), ([], 'table')]
        if 'realsense' in sequence:
            items = []
        boxes = np.zeros((1, len(items)), [('gtBb2D', object),
                                           ('classname', object)])
        for j, (box, classname) in enumerate(items):
            boxes[0, j] = (np.array([box], float), classname)
        meta[0, i] = (f'SUNRGBD/{sequence}', f'{name}.jpg', boxes)
    path = folder / 'SUNRGBDMeta2DBB_v2.mat'
    scipy.io.savemat(str(path), dict(SUNRGBDMeta2DBB=meta))
    return path
