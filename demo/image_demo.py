"""Predict one sample, or folders of them, and draw the result.

The config's modalities are the options that name the files: --rgb a.png
--depth b.png for modalities rgb and depth. One that is left out is absent.
"""
import argparse
import os.path as osp

import mmcv

from mwam_mm.apis import MultiModalInferencer
from mwam_mm.cli import add_cfg_options, load_safely

_PICTURES = ('.png', '.jpg', '.jpeg')


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        # an abbreviation could be the name of a modality
        allow_abbrev=False)
    parser.add_argument('config', help='path of the config')
    parser.add_argument('checkpoint', help='path of the checkpoint')
    parser.add_argument(
        '--out',
        default='result.png',
        help='the picture to write; for folders, or with any other name, a '
        'folder for label maps or boxes (pred) and pictures (vis)')
    parser.add_argument(
        '--combinations',
        metavar='all|NAME+NAME,NAME,...',
        help='predict from each of these combinations of the modalities, e.g. '
        'rgb,rgb+depth, or from all of them')
    parser.add_argument('--batch-size', type=int, default=1)
    parser.add_argument(
        '--device', help='cpu or cuda; by default the GPU if there is one')
    add_cfg_options(parser)
    return parser


def main() -> None:
    parser = build_parser()
    # The names of the modalities are in the config.
    known, _ = parser.parse_known_args()
    load_safely()
    try:
        inferencer = MultiModalInferencer(known.config, known.checkpoint,
                                          known.device, known.cfg_options)
    except (FileNotFoundError, ValueError) as error:
        parser.error(str(error))
    files = parser.add_argument_group('modalities')
    for name in inferencer.layout:
        files.add_argument(f'--{name}', dest=f'modality {name}',
                           metavar='PATH')
    args = vars(parser.parse_args())
    sample = {
        name: args[f'modality {name}']
        for name in inferencer.layout
        if args[f'modality {name}'] is not None
    }
    if not sample:
        parser.error('give the file of at least one modality: ' + ', '.join(
            f'--{name}' for name in inferencer.layout))
    combinations = args['combinations']
    if combinations not in (None, 'all'):
        combinations = combinations.split(',')
    out = args['out']
    one = out.lower().endswith(_PICTURES)
    if one and any(map(osp.isdir, sample.values())):
        parser.error(f'the inputs are folders, but --out {out} is a picture: '
                     'name a folder')
    for path in sample.values():
        if one and osp.exists(out) and osp.exists(path) and osp.samefile(
                out, path):
            parser.error(f'--out {out} would overwrite this input: name '
                         'another file')
    try:
        result = inferencer(
            sample,
            batch_size=args['batch_size'],
            combinations=combinations,
            out_dir=None if one else out)
        if one:
            mmcv.imwrite(inferencer.draw(sample, result)[..., ::-1], out)
    except (FileNotFoundError, ValueError) as error:
        parser.error(str(error))
    print(f'Written to {out}')


if __name__ == '__main__':
    main()
