"""Compare the paper's and the robust FRM on real data.

Prints, for the samples of each config, or without one for the potholes (RGB +
disparity) and the urban trees (RGB + near-infrared): what the paper's metric
is made of; FRM and K of either metric over sigma, with and without
photometric distortion of RGB; FRM of each band in the place of the low one;
and how far K is off when FRM is measured in every n-th iteration only.
"""
import argparse
import os.path as osp
from glob import glob
from pathlib import Path
from typing import Dict, List

import cv2
import numpy as np
import torch
from mmcv.transforms import BaseTransform, Compose, Resize
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.datasets.transforms import PhotoMetricDistortion
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn.functional import max_pool2d

from mwam_mm.cli import read_config
from mwam_mm.config import leaf_datasets, type_name
from mwam_mm.convert.pipeline import expanded
from mwam_mm.datasets.transforms import LoadModalities
from mwam_mm.layout import ModalityLayout
from mwam_mm.models.data_preprocessors.normalize import StackNormalizer
from mwam_mm.mwam import MWAM, allocate
from mwam_mm.mwam.dct import num_bands, spectrum
from mwam_mm.mwam.frm import frm_map, frm_parts
from mwam_mm.registry import DATASETS, TRANSFORMS
from mwam_mm.visualization import plot_spectra

METRICS = ('ratio', 'robust')
SIGMAS = (1e-8, 1e-6, 1e-4, 1e-2)
INTERVALS = (1, 2, 5, 10, 50)

CONFIGS = Path(__file__).resolve().parents[2] / 'configs/_base_/datasets'


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument(
        'configs', nargs='*', help='configs with LoadModalities, or built by '
        'mwam_mm.multimodal; by default the potholes and the urban trees')
    parser.add_argument(
        '--split',
        default='val',
        choices=('train', 'val', 'test'),
        help='whose samples and pipeline of the configs to take')
    parser.add_argument(
        '--samples',
        type=int,
        default=100,
        help='how many of them at most, spread over the split')
    parser.add_argument(
        '--data-root',
        default='data',
        help='folder that holds potholes and urban_trees, without configs '
        '(default: data, as in the configs)')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument(
        '--spectra',
        metavar='FILE',
        help='draw the spectrum of each modality into this file, such as '
        'spectra.png')
    return parser


def load(root: str, name: str, distort: bool) -> List[Dict[str, Tensor]]:
    """The normalised pairs of a dataset, resized as its configs do.

    Raises:
        FileNotFoundError: If there are none.
    """
    cfg = Config.fromfile(CONFIGS / f'{name}.py')
    layout = ModalityLayout(cfg.modalities)
    transforms = [LoadModalities(layout)]
    if distort:
        transforms.append(DistortRGB(layout))
    if name == 'potholes':
        transforms.append(Resize(cfg.image_size))
        files = sorted(glob(osp.join(root, name, 'dataset*', 'rgb', '*.png')))
        samples = [
            dict(img_path=f, depth_path=f.replace('rgb', 'disp_tg'))
            for f in files
        ]
    else:
        files = sorted(glob(osp.join(root, name, 'images', '*.tif')))
        samples = [dict(img_path=f) for f in files]
    if not files:
        raise FileNotFoundError(f'no images of {name} in {root}: name the '
                                'folder that holds it by --data-root')
    pipeline, normalizer = Compose(transforms), StackNormalizer(layout)
    images = (pipeline(sample)['img'] for sample in samples)
    return [
        normalised(torch.from_numpy(image).permute(2, 0, 1), normalizer)
        for image in images
    ]


class DistortRGB(BaseTransform):
    """Distort the colours of a loaded stack."""

    def __init__(self, layout: ModalityLayout) -> None:
        rgb = layout['rgb'] if 'rgb' in layout else None
        if rgb is None or rgb.channels != 3:
            raise ValueError('no modality "rgb" of three channels')
        self.slice, self.distort = rgb.slice, PhotoMetricDistortion()

    def transform(self, results: dict) -> dict:
        rgb = results['img'][..., self.slice]
        if rgb.min() < 0 or rgb.max() > 255:
            raise ValueError('rgb is not of 8 bits')
        rgb = np.ascontiguousarray(rgb.round(), np.uint8)
        results['img'][..., self.slice] = self.distort(dict(img=rgb))['img']
        return results


def load_samples(cfg: Config, split: str, limit: int,
                 distort: bool) -> List[Dict[str, Tensor]]:
    """The normalised samples of a config, as its pipeline gives them.

    Samples that lack a modality are left out.

    Args:
        cfg (Config): Any config whose pipeline loads modalities.
        split (str): 'train', 'val' or 'test'.
        limit (int): How many at most.
        distort (bool): Whether to distort RGB.

    Raises:
        ValueError: If the config has no such split or loads no modalities, or
            there is nothing to distort.
    """
    init_default_scope(cfg.get('default_scope', 'mmengine'))
    dataset = (cfg.get(f'{split}_dataloader') or {}).get('dataset')
    if dataset is None:
        raise ValueError(f'no {split}_dataloader.dataset in the config')
    pairs: List[Dict[str, Tensor]] = []
    leaves = list(leaf_datasets(dataset))
    for leaf in leaves:
        steps = expanded(leaf.get('pipeline') or dataset.get('pipeline') or ())
        transforms = [
            TRANSFORMS.build(step) for step in steps
            if not type_name(step).startswith('RandomDropModality')
        ]
        places = [
            i for i, t in enumerate(transforms)
            if isinstance(t, LoadModalities)
        ]
        if not places:
            raise ValueError(f'the pipeline of {split}_dataloader has no '
                             'mwam_mm.LoadModalities')
        layout = transforms[places[0]].layout
        if distort:
            transforms.insert(places[0] + 1, DistortRGB(layout))
        pipeline, normalizer = Compose(transforms), StackNormalizer(layout)
        built = DATASETS.build({**leaf, 'pipeline': []})
        count = min(len(built), max(1, limit // len(leaves)))
        for i in np.linspace(0, len(built) - 1, count).round().astype(int):
            packed = pipeline(built.get_data_info(int(i)))
            absent = packed['data_samples'].metainfo.get(
                'absent_modalities', ())
            if not absent:
                pairs.append(normalised(packed['inputs'], normalizer))
    if not pairs:
        raise ValueError(f'no sample of {split}_dataloader has all modalities')
    return pairs


def normalised(image: Tensor,
               normalizer: StackNormalizer) -> Dict[str, Tensor]:
    """The modalities of a stacked image, as the model gets them."""
    image = normalizer(image, ())
    return {
        name: image[modality.slice][None]
        for name, modality in normalizer.layout.items()
    }


def pooled(pairs: List[Dict[str, Tensor]], **kwargs) -> Tensor:
    """FRM of each modality over all pairs, shape (M, ), float64."""
    parts = [
        torch.stack([frm_parts(x, **kwargs)[:, 0] for x in pair.values()])
        for pair in pairs
    ]
    numerator, denominator = torch.stack(parts).sum(0).T
    return numerator / denominator


def share_table(pairs: List[Dict[str, Tensor]], title: str) -> Table:
    """Mean and median of the paper's metric, and how few positions make it."""
    table = Table(title=f"{title}: the paper's metric")
    for column in ('modality', 'mean', 'median', 'share of flat patches',
                   'their share of FRM', 'share of FRM of the top 1e-4'):
        table.add_column(column, justify='right')
    for name in pairs[0]:
        values = [frm_map(pair[name]).double() for pair in pairs]
        flat = torch.cat([
            is_flat(pair[name]).expand_as(v).flatten()
            for pair, v in zip(pairs, values)
        ])
        values = torch.cat([v.flatten() for v in values])
        total = values.sum()
        top = values.topk(max(1, len(values) // 10000)).values.sum()
        table.add_row(name, f'{values.mean():.4g}', f'{values.median():.4g}',
                      f'{flat.double().mean():.2g}',
                      f'{values[flat].sum() / total:.2g}',
                      f'{top / total:.2g}')
    return table


def is_flat(x: Tensor) -> Tensor:
    """Whether patches are constant, to be broadcast over their positions."""
    highest, lowest = max_pool2d(x, 8), -max_pool2d(-x, 8)
    return (highest == lowest)[:, :, :, None, :, None]


def sigma_table(data: Dict[bool, List[Dict[str, Tensor]]],
                title: str) -> Table:
    table = Table(title=title)
    names = list(data[False][0])
    for column in ('metric', 'sigma', 'RGB distorted',
                   *(f'FRM {n}' for n in names), *(f'K {n}' for n in names)):
        table.add_column(column, justify='right')
    for metric in METRICS:
        for distort, pairs in data.items():
            for sigma in SIGMAS:
                values = pooled(pairs, metric=metric, sigma=sigma)
                table.add_row(metric, f'{sigma:g}',
                              'yes' if distort else 'no',
                              *(f'{v:.4g}' for v in values.tolist()),
                              *(f'{k:.3f}' for k in allocate(values).tolist()))
    return table


def band_table(pairs: List[Dict[str, Tensor]], title: str) -> Table:
    """Which frequencies a modality is richer in than the others."""
    names = list(pairs[0])
    table = Table(title=f'{title}: FRM of each band, 0 the low one')
    for column in ('metric', 'band', *(f'FRM {n}' for n in names),
                   *(f'FRM {n} / mean' for n in names)):
        table.add_column(column, justify='right')
    for metric in METRICS:
        for band in range(num_bands(8, 2)):
            values = pooled(pairs, metric=metric, band=band)
            relative = values / values.mean()
            table.add_row(metric, str(band),
                          *(f'{v:.4g}' for v in values.tolist()),
                          *(f'{v:.2f}' for v in relative.tolist()))
    return table


def interval_table(pairs: List[Dict[str, Tensor]], title: str, seed: int,
                   num_batches: int = 200) -> Table:
    """Mean and largest difference of K to that of interval 1."""
    table = Table(title=f'{title}: {num_batches} random batches of 8')
    for column in ('metric', 'interval', 'mean |dK|', 'max |dK|'):
        table.add_column(column, justify='right')
    names = list(pairs[0])
    height, width = (
        min(x.size(axis) for pair in pairs for x in pair.values())
        for axis in (2, 3))
    generator = torch.Generator().manual_seed(seed)
    batches = [
        {
            name: torch.cat(
                [pairs[i][name][..., :height, :width] for i in chosen])
            for name in names
        } for chosen in torch.randint(
            len(pairs), (num_batches, 8), generator=generator).tolist()
    ]
    for metric in METRICS:
        every = weights(batches, names, metric, 1)
        for interval in INTERVALS:
            off = (weights(batches, names, metric, interval) - every).abs()
            table.add_row(metric, str(interval), f'{off.mean():.4f}',
                          f'{off.max():.4f}')
    return table


def weights(batches: list, names: List[str], metric: str,
            interval: int) -> Tensor:
    mwam = MWAM(names, metric=metric, interval=interval)
    return torch.stack([mwam.update(batch) for batch in batches])


def spectra(pairs: List[Dict[str, Tensor]]) -> Dict[str, Tensor]:
    """Spectrum of each modality, the mean over all pairs."""
    return {
        name: torch.stack([spectrum(pair[name]) for pair in pairs]).mean(0)
        for name in pairs[0]
    }


def load_undistorted_and_distorted(
        args: argparse.Namespace,
        name: str) -> Dict[bool, List[Dict[str, Tensor]]]:
    """Whether RGB is distorted to the pairs; False only where it cannot be."""
    if not args.configs:
        return {
            distort: load(args.data_root, name, distort)
            for distort in (False, True)
        }
    cfg = read_config(name)
    data = {False: load_samples(cfg, args.split, args.samples, False)}
    try:
        data[True] = load_samples(cfg, args.split, args.samples, True)
    except ValueError as error:
        print(f'{name}: RGB is not distorted: {error}')
    return data


def main() -> None:
    parser = build_parser()
    args = parser.parse_args()
    cv2.setNumThreads(1)
    console = Console()
    drawn = {}
    for name in args.configs or ('potholes', 'urban_trees'):
        np.random.seed(args.seed)
        try:
            data = load_undistorted_and_distorted(args, name)
        except (OSError, ValueError) as error:
            parser.exit(2, f'{parser.prog}: error: {name}: {error}\n')
        title = f'{name}, {len(data[False])} pairs'
        console.print(share_table(data[False], title))
        console.print(sigma_table(data, title))
        console.print(band_table(data[False], title))
        console.print(interval_table(data[False], title, args.seed))
        drawn[title] = spectra(data[False])
    if args.spectra:
        plot_spectra(drawn).savefig(args.spectra)


if __name__ == '__main__':
    main()
