"""Train configs with several seeds and say which differences are significant.

All runs are forked from this process, which imports everything and reads
every image once. A run that ends well leaves a file ``finished`` in its
folder and is not repeated; one that was cut off starts anew. The result is
the validation report ``missing_modality_val.json`` of each run. Tests in the
same folder, which write ``missing_modality_test.json``, do not matter.

A study says which trainings are compared, see configs/studies; paths in it
are relative to its file:

    seeds = [0, 1, 2, 3, 4, 5]
    config = '../potholes/two-stream-r18_potholes.py'
    variants = dict(
        plain=dict(),
        fast=dict(options={'optim_wrapper.optimizer.lr': 0.1}),
        md=dict(config='../potholes/two-stream-r18_md_potholes.py'),
        # In load_from, {seed} stands for the seed of the run.
        second=dict(options=dict(load_from='work_dirs/first/{seed}.pth')))
    baseline = 'plain'  # the others' differences to it are paired by seed
    ceilings = 'plain'  # is trained on each modality alone, too
    metric = 'mIoU'     # if left out, the first that the reports have a PCR of
    options = {}        # of all variants
"""
import argparse
import json
import os
import os.path as osp
import signal
import sys

# Before PyTorch is imported. One thread each, unless said otherwise; and CUDA
# must not be initialised before the fork, not even to see whether it is there.
os.environ.setdefault('OMP_NUM_THREADS', '1')
os.environ.setdefault('PYTORCH_NVML_BASED_CUDA_CHECK', '1')

from typing import Dict, Optional, Sequence

import cv2
from mmengine.config import DictAction
from rich.console import Console
from rich.table import Table

from mwam_mm.atomic import replacing
from mwam_mm.cli import load_safely
from mwam_mm.evaluation import (
    build_comparison,
    comparison_csv,
    comparison_tables,
    format_comparison,
)
from mwam_mm.studies import Run, Study, read_ahead, train_all
from mwam_mm.visualization import plot_comparison


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f'{text} is not positive')
    return number


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('configs', nargs='*', help='paths of the configs')
    parser.add_argument(
        '--study', help='path of a study, in place of the configs')
    parser.add_argument(
        '--seeds',
        nargs='+',
        type=int,
        help="by default the study's, or 0, 1 and 2")
    parser.add_argument(
        '--baseline',
        help='name of the variant or config that the others are compared '
        "with; by default the study's")
    parser.add_argument(
        '--variants',
        nargs='+',
        help='take only these variants of the study and its ceilings')
    parser.add_argument(
        '--metric',
        help='what to tabulate, such as coco/bbox_mAP_50; the first of which '
        'the evaluation gives the PCR if left out')
    parser.add_argument(
        '--work-dir',
        help='each run gets the folder <name>/seed<seed> in it; by default '
        'work_dirs/compare_seeds, or work_dirs/studies/<study>')
    parser.add_argument(
        '--jobs',
        type=positive,
        default=1,
        help='runs at a time; each has one thread, unless OMP_NUM_THREADS '
        'says otherwise')
    parser.add_argument(
        '--memory',
        type=float,
        default=2,
        help='GiB of decoded images to keep in memory; further ones are read '
        'from their files')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        default={},
        metavar='KEY=VALUE',
        help='settings of all runs')
    return parser


def load_study(args: argparse.Namespace) -> Study:
    """The study of the command line.

    Raises:
        ValueError: If a key or name of the study is unknown, or comes twice.
    """
    given = {
        key: value
        for key in ('seeds', 'baseline', 'metric', 'work_dir')
        if (value := getattr(args, key)) is not None
    }
    if args.study is None:
        return Study.of_configs(args.configs, args.cfg_options, **given)
    study = Study.from_file(args.study, args.cfg_options, **given)
    return study if args.variants is None else study.select(args.variants)


def rows_of(report: dict, metric: str) -> Dict[str, Optional[float]]:
    """Column name to value of one run."""
    rows = {
        name: entry['metrics'].get(metric)
        for name, entry in report['combinations'].items()
    }
    rows['avg'] = report['avg']['metrics'].get(metric)
    rows['avg PCR (%)'] = report['avg'].get('PCR', {}).get(metric)
    return rows


def choose_metric(metric: Optional[str], report: dict) -> str:
    """The metric to tabulate.

    Raises:
        ValueError: If the runs have no PCR of it.
    """
    known = list(report['avg']['PCR'])
    if metric is None:
        return known[0]
    if metric not in known:
        raise ValueError(f'--metric {metric}: the runs have the PCR of '
                         f'{known}; val_cfg.metric of the configs says which')
    return metric


def compare(study: Study, runs: Sequence[Run]) -> dict:
    """The comparison of runs that are done.

    Averages over other combinations are another quantity: where the variants
    differ in them, they are left out.
    """
    reports = [(run, run.report()) for run in runs]
    metric = choose_metric(study.metric, reports[0][1])
    scores: Dict[str, Dict[int, dict]] = {name: {} for name in study.variants}
    averaged = {
        frozenset(report['combinations']): run.name
        for run, report in reports if run.variant.only is None
    }
    if len(averaged) > 1:
        print('No averages, as they would be over other combinations: ' +
              '; '.join(f'{name} has {", ".join(sorted(combinations))}'
                        for combinations, name in averaged.items()))
    for run, report in reports:
        rows = rows_of(report, metric)
        if len(averaged) > 1:
            rows = {k: v for k, v in rows.items() if k in
                    report['combinations']}
        only = run.variant.only
        scores[run.name][run.seed] = rows if only is None else {
            only: rows[only]}
    return build_comparison(scores, metric, study.baseline, study.ceilings)


def save(comparison: dict, work_dir: str) -> None:
    """Write a comparison as Markdown, CSV, JSON and figure."""
    stem = osp.join(work_dir, 'comparison')
    for suffix, text in (
            ('md', format_comparison(comparison)),
            ('csv', comparison_csv(comparison)),
            ('json', json.dumps(comparison, indent=2) + '\n')):
        with replacing(f'{stem}.{suffix}') as partial:
            with open(partial, 'w', encoding='utf-8') as f:
                f.write(text)
    with replacing(f'{stem}.png') as partial:
        plot_comparison(comparison).savefig(partial)
    print(f'written: {stem}.md, .csv, .json, .png')


def print_tables(comparison: dict) -> None:
    for part in comparison_tables(comparison):
        table = Table(title=part.title)
        table.add_column('config', overflow='fold')
        for column in part.columns:
            table.add_column(column, justify='right')
        for name, cells in part.rows.items():
            table.add_row(name, *cells)
        console = Console()
        Console(width=max(100, console.width) if console.is_terminal else
                160).print(table, markup=False)


def terminate(number: int, frame: object) -> None:
    """End as on Ctrl-C, so that the runs end, too."""
    signal.signal(number, signal.SIG_IGN)  # once is enough
    sys.exit('terminated')


def main() -> None:
    parser = build_parser()
    args = parser.parse_args()
    if bool(args.configs) == bool(args.study):
        parser.error('name configs, or a study by --study')
    if args.variants and not args.study:
        parser.error('--variants chooses among those of a --study')
    try:
        study = load_study(args)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    runs = [
        Run(name, name if args.study else variant.config, variant, seed,
            osp.join(study.work_dir, name, f'seed{seed}'))
        # By seed, so that a study that is cut off has whole seeds.
        for seed in study.seeds for name, variant in study.variants.items()
    ]
    load_safely()
    todo = [run for run in runs if not run.is_done()]
    if todo:
        signal.signal(signal.SIGTERM, terminate)
        cv2.setNumThreads(0)  # threads do not outlive a fork
        variants = {id(run.variant): run.variant for run in todo}
        read_ahead(variants.values(), args.memory * 2**30)
        train_all(todo, args.jobs)
    comparison = compare(study, runs)
    print_tables(comparison)
    save(comparison, study.work_dir)


if __name__ == '__main__':
    main()
