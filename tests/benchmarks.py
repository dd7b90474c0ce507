"""Public benchmarks in miniature, in the layout of their publishers."""
import importlib.util
from pathlib import Path

import cv2
import numpy as np
from mmengine.config import Config
from mmengine.runner import Runner

from .reports import read_report

REPO = Path(__file__).resolve().parents[1]
SIZE = 40, 56  # height, width


def load_tool(name):
    """Import a script of tools/ by its path there."""
    spec = importlib.util.spec_from_file_location(
        Path(name).name, REPO / 'tools' / f'{name}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), array)


def blocks(rng, values):
    """A label map of large blocks of the values."""
    grid = rng.choice(np.asarray(values), (5, 7))
    return grid.repeat(8, 0).repeat(8, 1)


def write_pairs(root, folders, names, num_classes, seed=0):
    """A folder per modality, one file per name in each.

    Args:
        folders (dict): 'rgb', 'label', and any of 'thermal', 'raw' and
            'depth' to the folder.
    """
    rng = np.random.default_rng(seed)
    makers = dict(
        rgb=lambda: rng.integers(0, 256, (*SIZE, 3), np.uint8),
        thermal=lambda: rng.integers(0, 256, SIZE, np.uint8),
        raw=lambda: rng.integers(7000, 9000, SIZE).astype(np.uint16),
        depth=lambda: rng.integers(0, 20000, SIZE).astype(np.uint16),
        label=lambda: blocks(rng, np.arange(num_classes, dtype=np.uint8)))
    for name in names:
        for kind, folder in folders.items():
            write(root / folder / f'{name}.png', makers[kind]())
    return root


def write_fmb(root):
    for split, names in (('train', ['00001', '00003', '00004']),
                         ('test', ['00002', '00005'])):
        write_pairs(
            root / split,
            dict(rgb='Visible', thermal='Infrared', label='Label'), names, 15)
        write_pairs(root / split, dict(rgb='color'), names, 15)
    return root


def write_mfnet(root):
    rng = np.random.default_rng(0)
    lists = dict(
        train=['00001D', '00002N', '00004D'],
        val=['00005N', '00006D'],
        test=['00007D', '00008N', '00009N'])
    for names in lists.values():
        for name in names:
            write(root / 'images' / f'{name}.png',
                  rng.integers(0, 256, (*SIZE, 4), np.uint8))
            write(root / 'labels' / f'{name}.png',
                  blocks(rng, np.arange(9, dtype=np.uint8)))
    # As published: with the copies that make_flip.py would write.
    lists['train'] += [f'{name}_flip' for name in lists['train']]
    lists['test_day'] = [n for n in lists['test'] if n.endswith('D')]
    lists['test_night'] = [n for n in lists['test'] if n.endswith('N')]
    for name, names in lists.items():
        (root / f'{name}.txt').write_text('\n'.join(names) + '\n')
    return root


def write_msrs(root):
    for split, names in (('train', ['00001D', '00002N', '00004D']),
                         ('test', ['00003N', '00005D'])):
        write_pairs(
            root / split,
            dict(rgb='vi', thermal='ir', label='Segmentation_labels'), names,
            9)
    return root


def write_ombria(root, before=False):
    """OMBRIA, with the images before the flood or without."""
    kinds = dict(rgb=2, thermal=1)  # to the number of the Sentinel
    for split, names in (('train', ['0001', '0002', '0004']),
                         ('test', ['0003', '0005'])):
        for time in ('after', 'before')[:1 + before]:
            for kind, n in kinds.items():
                write_pairs(root / f'OmbriaS{n}' / split,
                            {kind: time.upper()},
                            [f'S{n}_{time}_{name}' for name in names], 2,
                            seed=10 * int(names[0]) + 2 * n + len(time))
        masks = np.random.default_rng(0)
        for name in names:
            write(root / f'OmbriaS2/{split}/MASK/S2_mask_{name}.png',
                  blocks(masks, np.uint8([0, 255])))
    return root


def write_pst900(root):
    names = [f'31_bag1a_rect_rgb_frame{i:010d}' for i in range(5)]
    for split, part in (('train', names[:3]), ('test', names[3:])):
        write_pairs(
            root / split,
            dict(
                rgb='rgb',
                thermal='thermal',
                raw='thermal_raw',
                depth='depth',
                label='labels'), part, 5)
    return root


def matlab73(path):
    """A new HDF5 file with the header of MATLAB 7.3."""
    import h5py
    file = h5py.File(path, 'w', userblock_size=512)
    with open(path, 'r+b') as f:
        f.write(b'MATLAB 7.3 MAT-file, Platform: GLNXA64'.ljust(124)
                + b'\x00\x02IM')
    return file


def matlab_variable(file, name, array):
    """Store an array as MATLAB does: by column, so all axes reversed."""
    matlab_class = dict(float32='single').get(str(array.dtype),
                                              str(array.dtype))
    dataset = file.create_dataset(
        name, data=np.asarray(array).T, chunks=True, compression='gzip')
    dataset.attrs['MATLAB_class'] = np.bytes_(matlab_class)
    return dataset


def write_nyu_depth_v2(folder):
    """The publishers' two files; returns the arrays as MATLAB has them."""
    import scipy.io
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    arrays = dict(
        images=rng.integers(0, 256, (*SIZE, 3, 6), np.uint8),
        depths=rng.uniform(.7, 9.9, (*SIZE, 6)).astype(np.float32),
        rawDepths=rng.uniform(0, 9.9, (*SIZE, 6)).astype(np.float32),
        labels=np.stack([
            blocks(rng, np.uint16([0, 3, 5, 11, 21, 157, 331, 700, 772, 894]))
            for _ in range(6)
        ], -1))
    with matlab73(folder / 'nyu_depth_v2_labeled.mat') as file:
        for name, array in arrays.items():
            matlab_variable(file, name, array)
    scipy.io.savemat(
        str(folder / 'splits.mat'),
        dict(
            trainNdxs=np.uint16([[1], [2], [4], [6]]),
            testNdxs=np.uint16([[3], [5]])))
    return arrays


SUN_SEQUENCES = [
    ('kv2/kinect2data/000002_2014-05-26_14-23-37_260595134347_rgbf000103'
     '-resize', '0000103', 'test'),
    ('kv1/NYUdata/NYU0001', 'NYU0001', 'train'),
    ('realsense/lg/2014_10_21-18_16_30-1311000073', '0000063', 'train'),
    ('xtion/sun3ddata/brown_bm_1/brown_bm_1/00003', '0000101', 'train'),
    ('kv1/b3dodata/img_0063', 'img_0063', 'test'),
]


def write_sun_rgbd(folder):
    """SUNRGBD and SUNRGBDtoolbox; returns depth in mm and labels."""
    import h5py
    import scipy.io
    rng = np.random.default_rng(0)
    remote = '/n/fs/sun3d/data/SUNRGBD'
    fields = ('sequenceName', 'rgbname', 'depthname', 'rgbpath', 'depthpath')
    meta = np.zeros((1, len(SUN_SEQUENCES)), [(f, object) for f in fields])
    splits = dict(train=[], test=[])
    depths, labels = [], []
    for i, (sequence, name, split) in enumerate(SUN_SEQUENCES):
        root = folder / 'SUNRGBD' / sequence
        rgb = blocks(rng, np.arange(256, dtype=np.uint8))
        write(root / 'image' / f'{name}.jpg', np.stack([rgb] * 3, -1))
        depth = rng.integers(500, 8000, SIZE).astype(np.uint16)
        depth[:4] = 0
        depth[4] = 9000
        raw = (depth << 3 | depth >> 13).astype(np.uint16)
        write(root / 'depth' / f'{name}.png', raw)
        write(root / 'depth_bfx' / f'{name}.png', raw)
        depths.append(depth)
        labels.append(blocks(rng, np.arange(38, dtype=np.uint8)))
        meta[0, i] = (f'SUNRGBD/{sequence}', f'{name}.jpg', f'{name}.png',
                      f'{remote}/{sequence}/image/{name}.jpg',
                      f'{remote}/{sequence}/depth_bfx/{name}.png')
        # Some paths of the publishers end in a slash.
        splits[split].append(f'{remote}/{sequence}' + '/' * (i % 2))

    toolbox = folder / 'SUNRGBDtoolbox'
    for name in ('Metadata', 'traintestSUNRGBD'):
        (toolbox / name).mkdir(parents=True)
    scipy.io.savemat(
        str(toolbox / 'Metadata/SUNRGBDMeta.mat'), dict(SUNRGBDMeta=meta))
    scipy.io.savemat(
        str(toolbox / 'traintestSUNRGBD/allsplit.mat'), {
            f'all{split}': np.array([paths], object)
            for split, paths in splits.items()
        })
    with matlab73(toolbox / 'Metadata/SUNRGBD2Dseg.mat') as file:
        references = []
        for i, label in enumerate(labels):
            references.append(
                matlab_variable(file, f'#refs#/{i:x}', label).ref)
        file.create_dataset(
            'SUNRGBD2Dseg/seglabel',
            data=np.array(references, object)[:, None],
            dtype=h5py.ref_dtype)
    return depths, labels


def load_config(name, data_root, work_dir):
    """A shipped config for one iteration on a miniature."""
    cfg = Config.fromfile(REPO / 'configs' / name)
    channels = [8, 16, 32, 64]
    options = {
        'work_dir': str(work_dir),
        'experiment_name': work_dir.name,
        'log_level': 'WARNING',
        'model.backbone.branch.depth': 18,
        'model.backbone.branch.base_channels': 8,
        'model.backbone.branch.stem_channels': 8,
        'model.neck.in_channels': channels,
        'model.decode_head.in_channels': channels,
        'model.decode_head.channels': 16,
        'train_cfg.max_iters': 1,
        'train_cfg.val_interval': 1,
        'default_hooks.logger.interval': 1,
        'train_dataloader.batch_size': 2,
        'train_dataloader.dataset.pipeline.2.scale': (56, 40),
        'train_dataloader.dataset.pipeline.3.crop_size': (40, 56),
    }
    for split in ('train', 'val', 'test'):
        options.update({
            f'{split}_dataloader.num_workers': 0,
            f'{split}_dataloader.persistent_workers': False,
            f'{split}_dataloader.dataset.data_root': str(data_root),
        })
    cfg.merge_from_dict(options)
    for split in ('val', 'test'):
        for transform in cfg[f'{split}_dataloader'].dataset.pipeline:
            if transform.type == 'Resize':
                transform.scale = (56, 40)
    return cfg


def train(name, data_root, work_dir):
    """Train one iteration and validate.

    Returns:
        dict: Combination of modalities to its metrics.
    """
    runner = Runner.from_cfg(load_config(name, data_root, work_dir))
    before = {
        name: value.clone()
        for name, value in runner.model.named_parameters()
    }
    runner.train()
    assert any((value != before[name]).any()
               for name, value in runner.model.named_parameters())
    report = read_report(work_dir, 'val')
    return {
        name: entry['metrics']
        for name, entry in report['combinations'].items()
    }
