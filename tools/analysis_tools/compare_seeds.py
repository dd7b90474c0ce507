"""Train configs with several seeds and tabulate mean and spread.

Every run is one of ``tools/train.py`` whose validation loop writes
``missing_modality_val.json``. A run that ends well leaves a file ``finished``
in its folder and is not repeated; one that was cut off starts anew. Tests in
the same folder, which write ``missing_modality_test.json``, do not matter.
"""
import argparse
import json
import os
import os.path as osp
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from statistics import mean, stdev
from typing import Dict, List, Optional

from rich.console import Console
from rich.table import Table

from mwam_mm.evaluation import newest_report

TRAIN = osp.join(osp.dirname(osp.dirname(osp.abspath(__file__))), 'train.py')


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('configs', nargs='+', help='paths of the configs')
    parser.add_argument('--seeds', nargs='+', type=int, default=[0, 1, 2])
    parser.add_argument(
        '--metric',
        help='what to tabulate, such as coco/bbox_mAP_50; the first of which '
        'the evaluation gives the PCR if left out')
    parser.add_argument(
        '--work-dir',
        default='work_dirs/compare_seeds',
        help='each run gets the folder <config name>/seed<seed> in it')
    parser.add_argument(
        '--jobs',
        type=int,
        default=1,
        help='runs at a time; each gets its share of the CPU cores')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        default=[],
        metavar='KEY=VALUE',
        help='passed on to tools/train.py')
    return parser


def config_name(path: str) -> str:
    return osp.splitext(osp.basename(path))[0]


def run(config: str, seed: int, args: argparse.Namespace) -> dict:
    """Train once, unless it is done, and return the report.

    Raises:
        RuntimeError: If training fails or writes no report, in which case the
            message names the log, or the report of a run that is done is
            gone.
    """
    folder = osp.join(args.work_dir, config_name(config), f'seed{seed}')
    report = newest_report(folder, 'val')
    # A report alone does not tell: every validation of a run writes it.
    finished = osp.join(folder, 'finished')
    if osp.exists(finished):
        if report is None:
            raise RuntimeError(
                f'{finished} says that this run is done, but there is no '
                'missing_modality_val.json of it: delete the file to train '
                'again')
    else:
        os.makedirs(folder, exist_ok=True)
        earlier = report
        threads = max((os.cpu_count() or 1) // args.jobs, 1)
        log = osp.join(folder, 'train.log')
        print(f'training {config} with seed {seed}: {log}', flush=True)
        with open(log, 'w') as f:
            code = subprocess.call(
                [
                    sys.executable, TRAIN, config, '--work-dir', folder,
                    '--cfg-options', *args.cfg_options,
                    f'randomness.seed={seed}'
                ],
                stdout=f,
                stderr=subprocess.STDOUT,
                env=dict(os.environ, OMP_NUM_THREADS=str(threads)))
        report = newest_report(folder, 'val')
        if code or report == earlier:
            raise RuntimeError(
                f'{config} with seed {seed} '
                + (f'failed with exit status {code}'
                   if code else 'left no missing_modality_val.json')
                + f': see {log}')
        open(finished, 'w').close()
    with open(report) as f:
        return json.load(f)


def rows_of(report: dict, metric: str) -> Dict[str, Optional[float]]:
    """Column name to value of one run."""
    rows = {
        name: entry['metrics'].get(metric)
        for name, entry in report['combinations'].items()
    }
    rows['avg'] = report['avg']['metrics'].get(metric)
    rows['avg PCR (%)'] = report['avg'].get('PCR', {}).get(metric)
    return rows


def summary(values: List[Optional[float]], digits: int) -> str:
    """Format mean and sample standard deviation."""
    if any(v is None for v in values):
        return 'undefined'
    spread = f' ± {stdev(values):.{digits}f}' if len(values) > 1 else ''
    return f'{mean(values):.{digits}f}{spread}'


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


def main() -> None:
    args = build_parser().parse_args()
    with ThreadPoolExecutor(args.jobs) as pool:
        futures = {
            config: [
                pool.submit(run, config, seed, args) for seed in args.seeds
            ]
            for config in args.configs
        }
        reports = {
            config: [future.result() for future in runs]
            for config, runs in futures.items()
        }
    first = reports[args.configs[0]][0]
    metric = choose_metric(args.metric, first)
    rows = {
        config: [rows_of(report, metric) for report in runs]
        for config, runs in reports.items()
    }
    # Shares of 1, such as mAP, get more digits than percentages.
    shares = all((row['avg'] or 0) <= 1 for r in rows.values() for row in r)
    seeds = ', '.join(map(str, args.seeds))
    table = Table(title=f'{metric}, mean ± standard deviation, seeds {seeds}')
    table.add_column('config', overflow='fold')
    for column in rows_of(first, metric):
        table.add_column(column, justify='right')
    for config, runs in rows.items():
        table.add_row(
            config_name(config), *(summary(
                [run[column] for run in runs],
                3 if shares and '%' not in column else 1)
                for column in runs[0]))
    Console(width=max(100, Console().width)).print(table)


if __name__ == '__main__':
    main()
