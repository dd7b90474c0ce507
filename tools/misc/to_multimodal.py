"""Write a multimodal config with MWAM that inherits from any stock config.

The stock config is a path or a name in the model zoo of an installed package,
e.g. mmseg::fcn/fcn_r50-d8_4xb4-80k_ade20k-512x512.py or
mmdet::retinanet/retinanet_r50_fpn_1x_coco.py. Its model, schedule and
augmentation stay; the dataset is the embedded scene set or that of --dataset.
Where the stock config would enlarge its images to more than twice their size,
the sizes of the pipeline are made smaller to fit.
"""
import argparse
import shlex

from mwam_mm.convert.job import write_job
from mwam_mm.convert.settings import RECIPES


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('base', help='path or zoo name of the stock config')
    parser.add_argument(
        '--modalities',
        nargs='+',
        required=True,
        metavar='NAME:CHANNELS',
        help='modalities of the dataset, e.g. rgb:3 depth:1')
    parser.add_argument(
        '--dataset',
        help='config file of a multimodal dataset: modalities, dataloaders '
        'and evaluators (default: the embedded scene set)')
    parser.add_argument(
        '--recipe',
        choices=RECIPES,
        default=RECIPES[0],
        help='what missing sensors are trained by: combination (default), '
        "the model's own losses of each modality alone and, of logits, the "
        'distance to the prediction from all, weighted by K; '
        "dropout, a random subset of each sample's modalities, with K on the "
        'gradients; gradient, K on the gradients only. docs/which.md compares')
    parser.add_argument(
        '--no-dropout',
        dest='recipe',
        action='store_const',
        const='gradient',
        help='the same as --recipe gradient')
    parser.add_argument(
        '--no-combinations',
        dest='combinations',
        action='store_false',
        help='evaluate on all modalities only instead of every combination '
        'of them')
    parser.add_argument(
        '--smoke',
        action='store_true',
        help='shrink images, data and schedule to one iteration and one '
        'evaluation, on a CPU too')
    parser.add_argument(
        '-o', '--out', required=True, help='path of the config to write')
    return parser


def main() -> None:
    parser = build_parser()
    args = parser.parse_args()
    try:
        write_job(**vars(args))
    except (ImportError, OSError, ValueError) as error:
        parser.exit(2, f'{parser.prog}: error: {args.base}: {error}\n')
    print(f'wrote {args.out}: python tools/train.py {shlex.quote(args.out)}')


if __name__ == '__main__':
    main()
