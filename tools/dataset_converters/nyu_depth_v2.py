"""Convert NYU-Depth V2 to the tree that NYUDepthV2Dataset reads.

From the publishers' nyu_depth_v2_labeled.mat (2.8 GB) and splits.mat.
"""
import argparse
import os.path as osp
from typing import Dict

import numpy as np
from mmengine.utils import track_iter_progress

from mwam_mm.atomic import new_tree
from mwam_mm.datasets.image_files import write_image
from mwam_mm.datasets.matlab import load_matlab, open_matlab73

# The 894 labels of the file (their numbers there, from 1) that make up each
# class of Gupta et al., CVPR 2013; all others are 40, otherprop.
LABELS_OF_CLASS = {
    1: [21], 2: [11], 3: [3], 4: [157], 5: [5], 6: [83], 7: [19], 8: [28],
    9: [59], 10: [88], 11: [64], 12: [7], 13: [80], 14: [36], 15: [42],
    16: [89], 17: [169], 18: [119], 19: [122], 20: [143], 21: [141], 22: [4],
    23: [85], 24: [17], 25: [172], 26: [15], 27: [135], 28: [123], 29: [26],
    30: [45], 31: [331], 32: [158], 33: [124], 34: [24], 35: [144],
    36: [136], 37: [55],
    38: [8, 25, 33, 38, 51, 53, 57, 58, 62, 65, 79, 94, 104, 112, 134, 153,
         215, 216, 223, 225, 238, 241, 242, 256, 295, 301, 339, 342, 354,
         363, 372, 380, 392, 408, 412, 453, 456, 463, 477, 497, 541, 550,
         553, 567, 573, 582, 591, 609, 612, 615, 642, 645, 657, 658, 659,
         663, 667, 668, 686, 700, 702, 777, 778, 782, 850, 861, 868, 874],
    39: [12, 43, 48, 50, 87, 106, 111, 161, 163, 174, 183, 204, 214, 219,
         221, 224, 236, 262, 278, 291, 298, 313, 343, 344, 356, 359, 373,
         393, 401, 414, 418, 419, 430, 443, 444, 447, 448, 457, 458, 460,
         462, 475, 479, 485, 486, 493, 494, 498, 499, 509, 510, 515, 521,
         524, 540, 549, 551, 554, 556, 558, 576, 580, 608, 625, 703, 734,
         770, 772, 797, 800, 803, 804, 813, 814, 815, 820, 829, 835, 858,
         863, 882, 892],
}
NUM_LABELS = 894


def class_table() -> np.ndarray:
    """Label of the file, 0 to 894, to class, 0 (none) to 40."""
    table = np.full(NUM_LABELS + 1, 40, np.uint8)
    table[0] = 0
    for class_id, labels in LABELS_OF_CLASS.items():
        table[labels] = class_id
    return table


def read_splits(path: str, num_images: int) -> Dict[str, np.ndarray]:
    """Image numbers, from 1, of each split.

    Raises:
        FileNotFoundError: If there is no file.
        ValueError: If it does not hold the splits of ``num_images`` images.
    """
    splits = {
        split: load_matlab(path, f'{split}Ndxs').astype(int)
        for split in ('train', 'test')
    }
    numbers = np.concatenate(list(splits.values()))
    if len(set(numbers)) != len(numbers):
        raise ValueError(f'{path!r} names an image twice')
    if numbers.min() < 1 or numbers.max() > num_images:
        raise ValueError(
            f'{path!r} names images {numbers.min()} to {numbers.max()}, but '
            f'there are {num_images}')
    return splits


def check_arrays(file, path: str) -> int:
    """Check what a labeled.mat holds and return its number of images.

    Raises:
        ValueError: If an array is missing or has another shape.
    """
    missing = [k for k in ('images', 'depths', 'labels') if k not in file]
    if missing:
        raise ValueError(f'{path!r} has no {missing}, only {sorted(file)}: '
                         'it is not nyu_depth_v2_labeled.mat')
    images, depths, labels = (
        file[k].shape for k in ('images', 'depths', 'labels'))
    if len(images) != 4 or images[1] != 3 or not (
            depths == labels == images[:1] + images[2:]):
        raise ValueError(
            f'{path!r} has images {images}, depths {depths} and labels '
            f'{labels} in HDF5 order; expected (N, 3, W, H) and (N, W, H)')
    return images[0]


def convert(labeled: str, splits: str, out: str) -> None:
    """Write the tree.

    Args:
        labeled (str): Path of nyu_depth_v2_labeled.mat.
        splits (str): Path of splits.mat.
        out (str): Folder to make. Depth is stored in mm.

    Raises:
        FileExistsError: If there is something at ``out``.
        FileNotFoundError: If a file is missing.
        ValueError: If a file does not hold what it should.
    """
    table = class_table()
    with open_matlab73(labeled) as file, new_tree(out) as root:
        numbers = read_splits(splits, check_arrays(file, labeled))
        for split, of_split in numbers.items():
            print(f'{split}: {len(of_split)} pairs')
            for number in track_iter_progress(of_split.tolist()):
                where = f'image {number} of {labeled!r}'
                # (3, W, H) as R, G, B and (W, H)
                image = file['images'][number - 1].transpose(2, 1, 0)
                depth = file['depths'][number - 1].T
                label = file['labels'][number - 1].T
                depth = np.rint(depth.astype(np.float64) * 1000)
                if not (np.isfinite(depth).all()
                        and 0 <= depth.min() <= depth.max() <= 65535):
                    raise ValueError(f'{where} has depths that are not '
                                     'between 0 and 65.535 m')
                if label.max() > NUM_LABELS:
                    raise ValueError(f'{where} has label {label.max()}; '
                                     f'there are {NUM_LABELS}')
                for kind, array in (('rgb', image[..., ::-1]),
                                    ('depth', depth.astype(np.uint16)),
                                    ('label', table[label])):
                    write_image(
                        osp.join(root, split, kind, f'{number:04d}.png'),
                        np.ascontiguousarray(array))
            print()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('labeled', help='path of nyu_depth_v2_labeled.mat')
    parser.add_argument('splits', help='path of splits.mat')
    parser.add_argument(
        '-o', '--out', default='data/nyu_depth_v2', help='folder to make')
    args = parser.parse_args()
    try:
        convert(args.labeled, args.splits, args.out)
    except (ImportError, OSError, ValueError) as error:
        parser.error(str(error))


if __name__ == '__main__':
    main()
