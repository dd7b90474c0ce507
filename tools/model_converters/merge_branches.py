"""Build one multimodal checkpoint from a trained model of each modality.

The files are checkpoints of stock models of MMSegmentation or MMDetection, or
of this package. The backbone of each becomes the branch of its modality in
the model of CONFIG, and the result is for `load_from`. For example:

    python tools/model_converters/merge_branches.py CONFIG rgb=rgb.pth \\
        depth=depth.pth --heads rgb -o merged.pth
"""
import argparse

from mmengine.registry import init_default_scope

from mwam_mm.cli import add_cfg_options, load_safely, read_config
from mwam_mm.convert.branches import merge_branches, save_merged
from mwam_mm.registry import MODELS


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='path of the multimodal config')
    parser.add_argument(
        'files',
        nargs='+',
        metavar='MODALITY=FILE',
        help='checkpoint of each modality')
    parser.add_argument(
        '--heads',
        metavar='MODALITY',
        help='whose file also gives the neck and the heads (default: they '
        'start from scratch)')
    add_cfg_options(parser)
    parser.add_argument(
        '-o', '--out', required=True, help='path of the checkpoint to write')
    return parser


def parse_files(arguments) -> dict:
    """Modality to file.

    Raises:
        ValueError: If an argument is no pair or a modality comes twice.
    """
    files = {}
    for argument in arguments:
        name, equals, path = argument.partition('=')
        if not (name and equals and path):
            raise ValueError(f'{argument!r} is not MODALITY=FILE')
        if name in files:
            raise ValueError(f'modality "{name}" has two files: '
                             f'{files[name]} and {path}')
        files[name] = path
    return files


def main() -> None:
    parser = build_parser()
    args = parser.parse_args()
    load_safely()
    try:
        files = parse_files(args.files)
        cfg = read_config(args.config, args.cfg_options)
        init_default_scope(cfg.get('default_scope', 'mmengine'))
        model = MODELS.build(cfg.model)
        weights = merge_branches(model, files, args.heads)
        save_merged(weights, files, args.out)
    except (ImportError, OSError, ValueError) as error:
        parser.exit(2, f'{parser.prog}: error: {error}\n')
    print(f'wrote {args.out}: {len(weights)} of the '
          f'{len(model.state_dict())} weights of {args.config}, for load_from')


if __name__ == '__main__':
    main()
