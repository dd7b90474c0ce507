"""Plot K, FRM and the metric of every combination over the training."""
import argparse
import os.path as osp
from typing import List

from mwam_mm.visualization import plot_balance, read_log


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'runs',
        nargs='+',
        help='work dirs of trainings, or JSON logs of '
        '<work dir>/<date>_<time>/vis_data')
    parser.add_argument(
        '--names', nargs='+', help='what to call the runs in the figure')
    parser.add_argument(
        '--metric',
        help='such as coco/bbox_mAP_50; by default mIoU, mAP or '
        'accuracy/top1')
    parser.add_argument(
        '--out',
        default='balance.png',
        help='file of the figure: .png, .svg, .pdf; by default balance.png')
    return parser


def names_of(paths: List[str]) -> List[str]:
    """A name of each run: its work dir's, with as much of the path as tells
    it from the others."""
    parts = []
    for path in paths:
        path = osp.abspath(path)
        if not osp.isdir(path):  # <work dir>/<time>/vis_data/<time>.json
            path = osp.dirname(osp.dirname(osp.dirname(path)))
        parts.append(path.split(osp.sep))
    for depth in range(1, max(map(len, parts))):
        names = ['/'.join(p[-depth:]) for p in parts]
        if len(set(names)) == len(names):
            return names
    return paths


def main() -> None:
    parser = build_parser()
    args = parser.parse_args()
    names = args.names or names_of(args.runs)
    if len(set(names)) != len(args.runs):
        parser.error(f'{len(args.runs)} runs need as many different names, '
                     f'but have {names}')
    try:
        runs = {n: read_log(path) for n, path in zip(names, args.runs)}
        figure = plot_balance(runs, args.metric)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    figure.savefig(args.out)
    print(f'Written to {args.out}')


if __name__ == '__main__':
    main()
