"""Make the pictures of the README.

Trains three modalities of the embedded scenes first, unless that is done, and
draws what the training left, and the results in docs/results.
"""
import argparse
import glob
import json
import os
import os.path as osp
from pathlib import Path
from typing import Dict, List, Tuple

import cv2
import matplotlib
import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from mmengine.config import Config
from mmengine.structures import BaseDataElement
from PIL import Image

from mwam_mm.apis import MultiModalInferencer
from mwam_mm.cli import build_runner, load_safely
from mwam_mm.evaluation import newest_report
from mwam_mm.visualization import (
    draw_sample,
    panel,
    plot_balance,
    plot_comparison,
    plot_missing_modality,
    read_log,
)
from mwam_mm.visualization.modality_pictures import ModalityPictures

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / 'configs/rgbdt_seg_mwam.py'
ITERATIONS = 800
COMBINATIONS = ['rgb+depth+thermal', 'rgb', 'depth', 'thermal']
LARGEST = 200 * 1024

_FILES, _DATA, _MODEL, _MWAM = '#dbe7ef', '#eef2f4', '#f6ead2', '#f3d9d3'
_LINE = '#444444'


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument(
        '--out', default=str(ROOT / 'docs/images'), help='their folder')
    parser.add_argument(
        '--results',
        default=str(ROOT / 'docs/results'),
        help='folder with results as compare_seeds.py writes them, *.json')
    parser.add_argument(
        '--work-dir',
        default=str(ROOT / 'work_dirs/pictures'),
        help='work dir of the training')
    parser.add_argument('--scene', default='000004', help='of the validation')
    return parser


def train(work_dir: str) -> str:
    """Train unless it is done, and return the checkpoint."""
    checkpoint = osp.join(work_dir, f'iter_{ITERATIONS}.pth')
    if not osp.isfile(checkpoint):
        cfg = Config.fromfile(CONFIG)
        cfg.merge_from_dict({
            'work_dir': work_dir,
            'train_cfg.max_iters': ITERATIONS,
            'train_cfg.val_interval': ITERATIONS // 4,
            'param_scheduler.1.end': ITERATIONS,
            'default_hooks.checkpoint.interval': ITERATIONS,
            'default_hooks.logger.interval': 10
        })
        build_runner(cfg).train()
    return checkpoint


def data_path() -> Figure:
    """The way from the files of three sensors to the loss, and back."""
    figure = Figure(figsize=(10, 3.9), layout='constrained')
    axis = figure.subplots()
    axis.set_xlim(0, 100)
    axis.set_ylim(0, 39)
    axis.axis('off')

    def box(x: float, y: float, width: float, height: float, text: str,
            color: str) -> None:
        axis.add_patch(
            FancyBboxPatch((x, y), width, height, facecolor=color,
                           edgecolor=_LINE, linewidth=0.8,
                           boxstyle='round,pad=0,rounding_size=0.8'))
        axis.text(x + width / 2, y + height / 2, text, ha='center',
                  va='center', fontsize=8)

    def arrow(start: Tuple[float, float], end: Tuple[float, float],
              **style) -> None:
        axis.add_patch(
            FancyArrowPatch(start, end, arrowstyle='-|>', mutation_scale=9,
                            shrinkA=0, shrinkB=0,
                            **{'color': _LINE, 'linewidth': 1, **style}))

    names = ('rgb', 'depth', 'thermal')
    rows = (31, 22.5, 14)
    for name, y in zip(names, rows):
        box(0, y, 9, 6, f'{name}\nfile', _FILES)
        arrow((9, y + 3), (12, y + 3))
        box(57, y, 12, 6, f'branch\n{name}', _MODEL)
        arrow((54, y + 3), (57, y + 3))
        arrow((69, y + 3), (72, y + 3))
        # what comes back
        arrow((72, y + 1.2), (69, y + 1.2), color='#c8553d', linestyle='--')
    box(12, 14, 11, 23, 'Load-\nModalities\n\none stack\nH x W x C', _DATA)
    arrow((23, 25.5), (26, 25.5))
    box(26, 14, 11, 23, 'stock\ntransforms\n\nResize, Flip,\nCrop, Pack',
        _DATA)
    arrow((37, 25.5), (40, 25.5))
    box(40, 14, 14, 23, 'preprocessor\n\nnormalise each\nmodality,\n'
        'zero the\nabsent', _DATA)
    box(72, 14, 10, 23, 'MWAMNeck\n\nfusion of\neach level', _MODEL)
    arrow((82, 25.5), (85, 25.5))
    box(85, 14, 15, 23, 'stock neck\nand heads\n\nloss,\nprediction', _MODEL)
    box(40, 2, 14, 7, 'FRM of each\nmodality', _MWAM)
    arrow((47, 14), (47, 9))
    box(57, 2, 12, 7, 'bank,\nweights K', _MWAM)
    arrow((54, 5.5), (57, 5.5))
    axis.plot((69, 70.5), (5.5, 5.5), color='#c8553d', linewidth=1)
    arrow((70.5, 5.5), (70.5, 15), color='#c8553d')
    axis.text(72, 5.5, "training only: K times each branch's gradient",
              color='#c8553d', fontsize=8, va='center')
    return figure


def scene(checkpoint: str, name: str) -> np.ndarray:
    """A scene in three modalities, and its prediction by combination."""
    inferencer = MultiModalInferencer(str(CONFIG), checkpoint, 'cpu')
    root = inferencer.model.cfg.data_root
    sample = {
        modality: osp.join(root, modality, 'val', f'{name}.png')
        for modality in inferencer.layout
    }
    predictions = inferencer(sample, combinations=COMBINATIONS)
    pictures = ModalityPictures(inferencer.pipeline)({
        m.path_key: sample[m.name] for m in inferencer.layout.values()})
    labels = cv2.imread(osp.join(root, 'label', 'val', f'{name}.png'),
                        cv2.IMREAD_UNCHANGED)
    truth = BaseDataElement(gt_sem_seg=BaseDataElement(
        data=torch.from_numpy(labels)[None]))
    meta = inferencer.model.dataset_meta
    classes, palette = meta['classes'], meta['palette']
    ground = pictures['rgb']
    first = panel([
        *pictures.items(),
        ('truth', draw_sample(ground, truth, classes, palette, truth=True))
    ])
    second = panel([
        (f'from {combination}', draw_sample(ground, one, classes, palette))
        for combination, one in predictions.items()
    ], dict(zip(classes, palette)))
    return np.concatenate([first, second])


def results(folder: str) -> Dict[str, Figure]:
    """Points and intervals of each committed comparison."""
    figures = {}
    for path in sorted(glob.glob(osp.join(folder, '**', '*.json'),
                                 recursive=True)):
        comparison = json.loads(Path(path).read_text())
        if {'rows', 'columns', 'metric', 'ceilings'} <= set(comparison):
            name = osp.splitext(osp.relpath(path, folder))[0]
            figures[f'results_{name.replace(os.sep, "_")}'] = (
                plot_comparison(comparison))
    return figures


def save(figures: Dict[str, Figure], pictures: Dict[str, np.ndarray],
         out: str) -> List[str]:
    """Write figures as SVG, the same bytes each time, and pictures as PNG."""
    os.makedirs(out, exist_ok=True)
    paths = []
    with matplotlib.rc_context({
            'svg.hashsalt': 'mwam_mm',
            'svg.fonttype': 'none'
    }):
        for name, figure in figures.items():
            paths.append(osp.join(out, f'{name}.svg'))
            figure.savefig(paths[-1], metadata=dict(Date=None))
    for name, picture in pictures.items():
        paths.append(osp.join(out, f'{name}.png'))
        # 256 colours take half the space.
        Image.fromarray(picture).quantize(dither=Image.Dither.NONE).save(
            paths[-1], optimize=True)
    for path in paths:
        if osp.getsize(path) > LARGEST:
            raise ValueError(f'{path} is larger than {LARGEST} bytes')
    return paths


def main() -> None:
    args = build_parser().parse_args()
    load_safely()
    os.chdir(ROOT)  # where the config's data are
    checkpoint = train(args.work_dir)
    report = json.loads(
        Path(newest_report(args.work_dir, 'val')).read_text())
    figures = dict(
        data_path=data_path(),
        combinations=plot_missing_modality(report),
        balance=plot_balance({CONFIG.stem: read_log(args.work_dir)}),
        **results(args.results))
    for path in save(figures, dict(scene=scene(checkpoint, args.scene)),
                     args.out):
        print(f'{osp.getsize(path) / 1024:6.1f} KiB  {path}')


if __name__ == '__main__':
    main()
