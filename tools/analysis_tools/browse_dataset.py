"""Look at the samples of a config's dataset, before and after augmentation.

Draws each sample twice: what its files hold, and what the pipeline makes of
them for the model, each with the annotations. A modality that the pipeline
drops is grey; magenta is where there is no measurement.
"""
import argparse
import os.path as osp
from typing import Any, Optional, Tuple

import mmcv
import numpy as np
from mmengine.dataset import Compose
from mmengine.registry import init_default_scope
from mmengine.runner import set_random_seed
from mmengine.utils import ProgressBar
from mmengine.visualization import Visualizer

from mwam_mm.cli import add_cfg_options, read_config
from mwam_mm.config import (
    first_metainfo,
    leaf_datasets,
    walk_pipelines,
    walk_transforms,
)
from mwam_mm.datasets.transforms import LoadModalities
from mwam_mm.layout import ModalityLayout
from mwam_mm.registry import DATASETS
from mwam_mm.visualization import draw_columns
from mwam_mm.visualization.modality_pictures import (
    find_loading,
    mark_holes,
    split_stack,
)

# How often an augmentation may leave nothing of a sample.
TRIES = 10


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('config', help='path of the config')
    parser.add_argument(
        '--split',
        choices=('train', 'val', 'test'),
        default='train',
        help='whose dataset to draw')
    parser.add_argument('--out', help='folder for the pictures')
    parser.add_argument(
        '--not-show', action='store_true', help='open no window')
    parser.add_argument(
        '--show-interval',
        type=float,
        default=2,
        help='seconds for which a picture is shown')
    parser.add_argument(
        '--number',
        type=int,
        help='how many samples to draw, the first ones; by default all')
    parser.add_argument(
        '--seed', type=int, default=0, help='seed of the augmentation')
    add_cfg_options(parser)
    return parser


class Browser:
    """Pictures of a dataset's samples.

    Args:
        cfg (dict): Config of the dataset.

    Raises:
        ValueError: If its pipeline does not load modalities.
    """

    def __init__(self, cfg: dict) -> None:
        self.dataset = DATASETS.build(cfg)
        transforms = list(walk_pipelines(self.dataset))
        self.layout = find_loading(transforms).layout
        for transform in transforms:
            for key, value in vars(transform).items():
                if isinstance(value, ModalityLayout):
                    setattr(transform, key, mark_holes(value))
        leaf = next(leaf_datasets(self.dataset))
        _load_first(leaf.pipeline)
        loading = list(filter(_loads, walk_transforms(leaf.pipeline)))
        packing = [t for t in transforms if hasattr(t, 'meta_keys')]
        self._load = Compose([*loading, *packing[-1:]])
        meta = first_metainfo(self.dataset.metainfo)
        self._classes, self._palette = meta.get('classes'), meta.get('palette')

    def draw(self, index: int) -> Optional[Tuple[str, np.ndarray]]:
        """Draw a sample.

        Args:
            index (int): Its index.

        Returns:
            tuple[str, np.ndarray]: Path of its first file, and RGB picture;
            None if the augmentation leaves nothing of it.
        """
        before = self._load(self.dataset.get_data_info(index))
        path = before['data_samples'].img_path
        for _ in range(TRIES):
            # A dataset gives another sample in place of one of which nothing
            # is left.
            after = self.dataset[index]
            if after['data_samples'].img_path == path:
                return path, _below(
                    self._row(before, ''), self._row(after, ' augmented'))
        return None

    def _row(self, packed: dict, suffix: str) -> np.ndarray:
        sample = packed['data_samples']
        stack = packed['inputs'].permute(1, 2, 0).numpy()
        absent = sample.metainfo.get('absent_modalities', ())
        pictures = {
            name + suffix: None if name in absent else picture
            for name, picture in split_stack(stack, self.layout).items()
        }
        return draw_columns(pictures, {}, self._classes, self._palette,
                            sample if _has_truth(sample) else None)


def _loads(transform: Any) -> bool:
    # Segmentation sets wrap LoadAnnotations, by a class that is called so too.
    return 'Load' in type(transform).__name__


def _load_first(pipeline: Any) -> None:
    """Load the annotations before anything changes the image.

    Pipelines for tests do so at the end, in the size of the file, of which
    the picture no longer is.
    """
    for step in walk_transforms(pipeline):
        held = getattr(step, 'transforms', None)
        if isinstance(held, list) and any(
                isinstance(s, LoadModalities) for s in held):
            held.sort(key=lambda s: not _loads(s))


def _has_truth(sample: Any) -> bool:
    return 'gt_sem_seg' in sample or 'gt_label' in sample or (
        'labels' in sample.get('gt_instances', ()))


def _below(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Two pictures above each other, the narrower one on white."""
    whole = np.full((len(first) + len(second),
                     max(first.shape[1], second.shape[1]), 3), 255, np.uint8)
    whole[:len(first), :first.shape[1]] = first
    whole[len(first):, :second.shape[1]] = second
    return whole


def main() -> None:
    parser = build_parser()
    args = parser.parse_args()
    if args.not_show and args.out is None:
        parser.error('--not-show without --out DIR leaves nothing to do')
    cfg = read_config(args.config, args.cfg_options)
    init_default_scope(cfg.get('default_scope', 'mmengine'))
    set_random_seed(args.seed)
    loader = cfg.get(f'{args.split}_dataloader')
    if loader is None:
        parser.error(f'{args.config} has no {args.split}_dataloader')
    browser = Browser(loader.dataset)
    count = len(browser.dataset)
    if args.number is not None:
        count = min(count, args.number)
    visualizer = None if args.not_show else Visualizer()
    progress = ProgressBar(count)
    lost = []
    for i in range(count):
        drawn = browser.draw(i)
        if drawn is None:
            lost.append(i)
        else:
            path, picture = drawn
            name = f'{i:06}_{osp.splitext(osp.basename(path))[0]}.png'
            if args.out is not None:
                mmcv.imwrite(picture[..., ::-1], osp.join(args.out, name))
            if visualizer is not None:
                visualizer.show(
                    picture, win_name=name, wait_time=args.show_interval)
        progress.update()
    print()
    if lost:
        print(f'The augmentation left nothing of the samples {lost} in '
              f'{TRIES} tries: they are not drawn')


if __name__ == '__main__':
    main()
