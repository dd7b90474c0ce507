"""Check that a dataset's folders and files are where they should be.

For MFNet, PST900, MSRS, FMB and OMBRIA, which need no conversion, and for
what the converters wrote. tools/analysis_tools/check_dataset.py reads the
files too.
"""
import argparse
import os.path as osp
from typing import Dict, List, Type

from mwam_mm.datasets import (
    BenchmarkSegDataset,
    FMBDataset,
    MFNetDataset,
    MSRSDataset,
    NYUDepthV2Dataset,
    OmbriaDataset,
    PST900Dataset,
    SUNRGBDDataset,
)

DATASETS: Dict[str, Type[BenchmarkSegDataset]] = dict(
    fmb=FMBDataset,
    mfnet=MFNetDataset,
    msrs=MSRSDataset,
    nyu_depth_v2=NYUDepthV2Dataset,
    ombria=OmbriaDataset,
    pst900=PST900Dataset,
    sun_rgbd=SUNRGBDDataset)
# Pairs as published, where the publishers' own numbers agree.
PUBLISHED = dict(
    fmb=dict(train=1220, test=280),
    mfnet=dict(train=784, val=392, test=393),
    msrs=dict(train=1083, test=361),
    nyu_depth_v2=dict(train=795, test=654),
    ombria=dict(train=624, test=70),
    sun_rgbd=dict(train=5285, test=5050))


def check_split(dataset: BenchmarkSegDataset) -> List[str]:
    """Path keys of the modalities that a split has.

    Raises:
        FileNotFoundError: If a file of a modality is missing, or all further
            modalities are.
    """
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    further = [
        key for key in dataset.data_prefix
        if key not in ('img_path', 'seg_map_path')
    ]
    found = [k for k in further if osp.isdir(dataset.data_prefix[k])]
    if further and not found:
        raise FileNotFoundError(
            'no folder of a modality beside the images: expected '
            f'{[dataset.data_prefix[key] for key in further]}')
    for key in found:
        for info in infos:
            if not osp.isfile(info[key]):
                raise FileNotFoundError(
                    f'{info[key]!r} is missing beside {info["img_path"]!r}')
    return ['img_path', *found]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('dataset', choices=sorted(DATASETS))
    parser.add_argument('data_root', help='folder of the dataset')
    args = parser.parse_args()
    cls = DATASETS[args.dataset]
    for split in cls.SPLITS:
        try:
            dataset = cls(args.data_root, split)
            keys = check_split(dataset)
        except (OSError, ValueError) as error:
            parser.exit(1, f'{split}: {error}\n')
        line = f'{split}: {len(dataset)} pairs of {", ".join(keys)}'
        published = PUBLISHED.get(args.dataset, {}).get(split)
        if published not in (None, len(dataset)):
            line += f' (published: {published})'
        print(line)


if __name__ == '__main__':
    main()
