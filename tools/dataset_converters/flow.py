"""Frames and optical flow of videos, in the layout that ClipDataset reads.

The source is a folder of videos, such as UCF-101's, or the folder `frames` of
DEST, which has a folder of frames for each clip; then only the flow is made.

DEST
├── frames/CLIP/frame000001.jpg
├── flow/u/CLIP/frame000001.jpg    to the next frame, to the right
└── flow/v/CLIP/frame000001.jpg    and downwards

A repeat goes on with the clips that are not complete.
"""
import argparse
import os
import os.path as osp
import shutil
from typing import Iterator, List, Tuple

import cv2
import numpy as np
from mmengine.utils import track_iter_progress

from mwam_mm.datasets.file_names import natural_key
from mwam_mm.datasets.image_files import write_image
from mwam_mm.datasets.optical_flow import METHODS, encode_flow, optical_flow

VIDEOS = ('.avi', '.mp4', '.mkv', '.mov', '.webm')
IMAGES = ('.jpg', '.jpeg', '.png')


def find_clips(source: str, dest: str) -> List[Tuple[str, str]]:
    """Name and path of each clip, a video or a folder of frames."""
    if osp.realpath(source) == osp.realpath(osp.join(dest, 'frames')):
        return [(name, osp.join(source, name))
                for name in sorted(os.listdir(source))
                if not name.startswith('.')
                and osp.isdir(osp.join(source, name))]
    found = {}
    for folder, _, files in os.walk(source):
        for file in sorted(files):
            name, suffix = osp.splitext(file)
            if suffix.lower() not in VIDEOS:
                continue
            path = osp.join(folder, file)
            if name in found:
                raise ValueError(f'{path} and {found[name]} have one name, '
                                 'which is that of the folder of their frames')
            found[name] = path
    return sorted(found.items())


def read_frames(path: str) -> Iterator[np.ndarray]:
    """The frames of a clip as B, G, R."""
    if osp.isdir(path):
        for name in sorted(os.listdir(path), key=natural_key):
            if not name.lower().endswith(IMAGES):
                continue
            frame = cv2.imread(osp.join(path, name))
            if frame is None:
                raise ValueError(f'cannot read {osp.join(path, name)}')
            yield frame
        return
    video = cv2.VideoCapture(path)
    if not video.isOpened():
        raise ValueError(f'cannot read the video {path}')
    try:
        while True:
            there, frame = video.read()
            if not there:
                return
            yield frame
    finally:
        video.release()


def convert(name: str, path: str, dest: str, args: argparse.Namespace) -> bool:
    """Write a clip; whether there was anything to do.

    Each folder is written beside its place and moved there when complete, the
    one of v last, so that its being there says that the clip is done.
    """
    kinds = ['frames', 'flow/u', 'flow/v']
    if osp.isdir(path):
        kinds.remove('frames')
    folders = {kind: osp.join(dest, kind, name) for kind in kinds}
    if osp.isdir(folders['flow/v']):
        return False
    partial = {
        kind: osp.join(dest, kind, f'.{name}.partial')
        for kind in kinds
    }
    for folder in partial.values():
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
    last, count = None, 0
    for frame in read_frames(path):
        if args.short_side and 'frames' in kinds:
            scale = args.short_side / min(frame.shape[:2])
            frame = cv2.resize(
                frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        images = {}
        if 'frames' in kinds:
            images[f'frames {count + 1}'] = frame
        if last is not None:
            u, v = encode_flow(
                optical_flow(last, frame, args.method), args.bound)
            images[f'flow/u {count}'], images[f'flow/v {count}'] = u, v
        for key, image in images.items():
            kind, number = key.split()
            write_image(
                osp.join(partial[kind],
                         f'frame{int(number):06d}.{args.format}'), image)
        last, count = frame, count + 1
    if count < 2:
        raise ValueError(f'{path} has {count} frame(s), and flow needs two')
    for kind in kinds:
        shutil.rmtree(folders[kind], ignore_errors=True)
        os.replace(partial[kind], folders[kind])
    return True


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('source', help='folder of videos, or DEST/frames')
    parser.add_argument('dest', help='folder to write to')
    parser.add_argument(
        '--method',
        choices=METHODS,
        default='dis',
        help='dense inverse search, or polynomial expansion (default: dis)')
    parser.add_argument(
        '--bound',
        type=float,
        default=20.,
        help='pixels of motion that are as bright or dark as can be '
        '(default: 20)')
    parser.add_argument(
        '--short-side',
        type=int,
        default=0,
        help='shorter side of the frames in pixels (default: as they are)')
    parser.add_argument(
        '--format',
        choices=['jpg', 'png'],
        default='jpg',
        help='of the images (default: jpg)')
    return parser


def main() -> None:
    parser = build_parser()
    args = parser.parse_args()
    try:
        if not osp.isdir(args.source):
            raise ValueError(f'{args.source} is no folder')
        clips = find_clips(args.source, args.dest)
        if not clips:
            raise ValueError(f'{args.source} holds no clip: neither a video '
                             f'({", ".join(VIDEOS)}) nor, as DEST/frames, '
                             'folders of frames')
        done = [
            convert(name, path, args.dest, args)
            for name, path in track_iter_progress(clips)
        ]
    except (OSError, ValueError) as error:
        parser.exit(2, f'\n{parser.prog}: error: {error}\n')
    print(f'\nwrote {sum(done)} clips to {args.dest}, '
          f'{len(done) - sum(done)} were there')


if __name__ == '__main__':
    main()
