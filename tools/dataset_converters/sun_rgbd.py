"""Convert SUN RGB-D to the tree that SUNRGBDDataset reads.

From the publishers' SUNRGBD.zip and SUNRGBDtoolbox.zip, unpacked. With
SUNRGBDMeta2DBB_v2.mat it also has the boxes that SUNRGBDDetDataset reads.
"""
import argparse
import os.path as osp
import shutil
from typing import Dict, Iterator, List, NamedTuple, Optional, Tuple

import mmcv
import numpy as np
from mmengine.utils import mkdir_or_exist, track_iter_progress

from mwam_mm.atomic import new_tree, write_json
from mwam_mm.datasets.image_files import write_image
from mwam_mm.datasets.matlab import load_matlab, open_matlab73
from mwam_mm.stack import check_stack

NUM_CLASSES = 37
MAX_DEPTH = 8000  # mm; the publishers' code cuts off there as well


class Pair(NamedTuple):
    """Where the files of a pair are, relative to the SUNRGBD folder."""
    sequence: str
    rgb: str
    depth: str


def sequence_of(path: str) -> str:
    """The part of a path on the publishers' machine that is in the zip."""
    _, found, rest = path.replace('//', '/').rpartition('/SUNRGBD/')
    if not found:
        raise ValueError(f'the path {path!r} has no folder SUNRGBD')
    return rest.rstrip('/')


def read_pairs(toolbox: str) -> Iterator[Pair]:
    """The pairs in the order of the toolbox."""
    path = osp.join(toolbox, 'Metadata', 'SUNRGBDMeta.mat')
    for meta in load_matlab(path, 'SUNRGBDMeta'):
        sequence = sequence_of(osp.dirname(osp.dirname(meta.rgbpath)))
        yield Pair(sequence, osp.join(sequence, 'image', meta.rgbname),
                   osp.join(sequence, 'depth_bfx', meta.depthname))


def read_splits(toolbox: str) -> Dict[str, str]:
    """Sequence to the split it belongs to.

    Raises:
        ValueError: If a sequence is in both.
    """
    path = osp.join(toolbox, 'traintestSUNRGBD', 'allsplit.mat')
    split_of: Dict[str, str] = {}
    for split in ('train', 'test'):
        for sequence in load_matlab(path, f'all{split}'):
            sequence = sequence_of(str(sequence))
            if split_of.setdefault(sequence, split) != split:
                raise ValueError(f'{path!r} has {sequence!r} in both splits')
    return split_of


def read_boxes(path: str, classes: List[str]) -> Dict[str, List[dict]]:
    """Sequence to its boxes of the classes, as in a COCO json.

    Boxes without four numbers, which the publishers have some of, are left
    out, as are those of other classes.

    Raises:
        FileNotFoundError: If there is no file.
        ValueError: If it is not the publishers'.
    """
    boxes: Dict[str, List[dict]] = {}
    broken = 0
    for meta in load_matlab(path, 'SUNRGBDMeta2DBB'):
        of_sequence = boxes.setdefault(
            sequence_of(f'/{meta.sequenceName}'), [])
        for item in np.atleast_1d(meta.groundtruth2DBB):
            name = str(getattr(item, 'classname', ''))
            if name not in classes:
                continue
            box = np.asarray(item.gtBb2D, np.float64).ravel()
            if box.size != 4 or not np.isfinite(box).all():
                broken += 1
                continue
            of_sequence.append(
                dict(
                    category_id=classes.index(name) + 1,
                    bbox=box.tolist(),
                    area=float(box[2] * box[3]),
                    iscrowd=0))
    if broken:
        print(f'{path!r} has {broken} boxes without four numbers')
    return boxes


def decode_depth(raw: np.ndarray) -> np.ndarray:
    """Depth in mm from the files' values, which are rotated by 3 bits.

    Args:
        raw (np.ndarray): uint16.

    Returns:
        np.ndarray: uint16 of the same shape, 0 where there is no depth.
    """
    depth = (raw >> 3) | (raw << 13)
    return np.minimum(depth, MAX_DEPTH).astype(np.uint16)


def read_pair(sunrgbd: str, pair: Pair) -> Tuple[str, np.ndarray]:
    """Path of the colour image, and the values of the depth file, uint16.

    Raises:
        FileNotFoundError: If a file is missing or of another kind.
        ValueError: If depth has not 16 bits.
    """
    rgb, depth = (osp.join(sunrgbd, path) for path in (pair.rgb, pair.depth))
    for path, suffix in ((rgb, '.jpg'), (depth, '.png')):
        if not osp.isfile(path) or not path.endswith(suffix):
            raise FileNotFoundError(
                f'{path!r} is missing or no {suffix} file')
    raw = mmcv.imread(depth, flag='unchanged')
    if raw is None or raw.dtype != np.uint16 or raw.ndim != 2:
        raise ValueError(f'{depth!r} is not a 16-bit depth image')
    return rgb, raw


def with_boxes(images: List[Tuple[str, dict]],
               boxes: Dict[str, List[dict]], classes: List[str]) -> dict:
    """COCO json of a split.

    Args:
        images (list[tuple[str, dict]]): Sequence and entry of each image.
        boxes (dict[str, list[dict]]): What :func:`read_boxes` gives.
        classes (list[str]): The classes.
    """
    annotations: List[dict] = []
    for sequence, image in images:
        for box in boxes[sequence]:
            annotations.append(
                dict(box, id=len(annotations) + 1, image_id=image['id']))
    return dict(
        images=[image for _, image in images],
        annotations=annotations,
        categories=[dict(id=i, name=n) for i, n in enumerate(classes, 1)])


def convert(sunrgbd: str,
            toolbox: str,
            out: str,
            boxes: Optional[str] = None) -> None:
    """Write the tree.

    Args:
        sunrgbd (str): The SUNRGBD folder, with kv1, kv2, realsense, xtion.
        toolbox (str): The SUNRGBDtoolbox folder.
        out (str): Folder to make. Depth is stored in mm, the filled-in one
            of the publishers (depth_bfx).
        boxes (str, optional): Path of SUNRGBDMeta2DBB_v2.mat. Defaults to
            None, no boxes.

    Raises:
        FileExistsError: If there is something at ``out``.
        FileNotFoundError: If a file is missing.
        ImportError: If boxes are asked for and mmdet is not installed.
        ValueError: If a file does not hold what it should.
    """
    if boxes is not None:
        check_stack('mmdet')
    pairs = list(read_pairs(toolbox))
    split_of = read_splits(toolbox)
    if boxes is not None:
        from mwam_mm.datasets import SUNRGBDDetDataset
        classes = list(SUNRGBDDetDataset.METAINFO['classes'])
        boxes_of = read_boxes(boxes, classes)
    for pair in pairs:
        if pair.sequence not in split_of:
            raise ValueError(f'{pair.sequence!r} is in no split of '
                             'allsplit.mat')
        if boxes is not None and pair.sequence not in boxes_of:
            raise ValueError(f'{boxes!r} has no {pair.sequence!r}')
    images: Dict[str, List[Tuple[str, dict]]] = dict(train=[], test=[])
    labels_path = osp.join(toolbox, 'Metadata', 'SUNRGBD2Dseg.mat')
    with open_matlab73(labels_path) as labels, new_tree(out) as root:
        if 'SUNRGBD2Dseg/seglabel' not in labels:
            raise ValueError(f'{labels_path!r} has no SUNRGBD2Dseg.seglabel')
        references = labels['SUNRGBD2Dseg/seglabel'][()].ravel()
        if len(references) != len(pairs):
            raise ValueError(
                f'{labels_path!r} has {len(references)} label images, but '
                f'SUNRGBDMeta.mat has {len(pairs)} pairs')
        for i, pair in enumerate(track_iter_progress(pairs), 1):
            rgb, raw = read_pair(sunrgbd, pair)
            label = labels[references[i - 1]][()].T
            if label.shape != raw.shape or label.max() > NUM_CLASSES:
                raise ValueError(
                    f'label image {i} of {labels_path!r} has shape '
                    f'{label.shape} and values up to {label.max()}; expected '
                    f'{raw.shape} as {osp.join(sunrgbd, pair.depth)!r} and '
                    f'up to {NUM_CLASSES}')
            split = split_of[pair.sequence]
            image = dict(
                id=i,
                file_name=f'{split}/rgb/{i:05d}.jpg',
                depth_path=f'{split}/depth/{i:05d}.png',
                height=raw.shape[0],
                width=raw.shape[1])
            images[split].append((pair.sequence, image))
            target = osp.join(root, image['file_name'])
            mkdir_or_exist(osp.dirname(target))
            shutil.copyfile(rgb, target)
            write_image(
                osp.join(root, image['depth_path']), decode_depth(raw))
            write_image(
                osp.join(root, split, 'label', f'{i:05d}.png'),
                np.ascontiguousarray(label, dtype=np.uint8))
        if boxes is not None:
            for split, of_split in images.items():
                write_json(
                    osp.join(root, 'annotations', f'{split}.json'),
                    with_boxes(of_split, boxes_of, classes))
    print('\n' + ', '.join(f'{s}: {len(n)} pairs' for s, n in images.items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('sunrgbd', help='the unpacked SUNRGBD folder')
    parser.add_argument('toolbox', help='the unpacked SUNRGBDtoolbox folder')
    parser.add_argument(
        '-o', '--out', default='data/sun_rgbd', help='folder to make')
    parser.add_argument(
        '--boxes',
        metavar='MAT',
        help='path of SUNRGBDMeta2DBB_v2.mat, for detection')
    args = parser.parse_args()
    try:
        convert(args.sunrgbd, args.toolbox, args.out, args.boxes)
    except (ImportError, OSError, ValueError) as error:
        parser.error(str(error))


if __name__ == '__main__':
    main()
