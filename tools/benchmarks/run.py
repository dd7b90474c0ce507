"""Measure the cost of the package against its targets.

Every figure is a ratio of two times measured in turn within this process:
median and quartiles of the repeats after warm-up.
"""
import argparse
import json
import os.path as osp
import sys
import time
from typing import List

import torch
from rich.console import Console
from rich.table import Table

# run as a script: its neighbours are found as a package
sys.path.insert(0, osp.dirname(osp.dirname(osp.abspath(__file__))))

from benchmarks.evaluation import run_d
from benchmarks.frm_cost import run_a, run_f
from benchmarks.loading import run_e
from benchmarks.measuring import Result, Setting, machine
from benchmarks.steps import run_b, run_c

PARTS = dict(a=run_a, b=run_b, c=run_c, d=run_d, e=run_e, f=run_f)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument(
        '--quick',
        action='store_true',
        help='fewer repeats and cases: within 3 minutes on 2 idle cores')
    parser.add_argument(
        '--tiny',
        action='store_true',
        help='smallest cases, whose figures say nothing: a trial run')
    parser.add_argument('--out', help='write the results to this JSON file')
    parser.add_argument(
        '--parts',
        nargs='+',
        choices=sorted(PARTS),
        default=sorted(PARTS),
        help='a: FRM, b: training, c: inference, d: evaluation, e: loading, '
        'f: growth')
    parser.add_argument('--repeats', type=int, help='20, or 5 with --tiny')
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument(
        '--clock',
        choices=['wall', 'cpu'],
        default='wall',
        help='cpu: the CPU time of this process, for a CPU that is busy with '
        'other work; with --threads 1, as threads that wait count too')
    return parser


def measure(args: argparse.Namespace) -> List[Result]:
    torch.set_num_threads(args.threads)
    setting = Setting(
        device='cuda' if torch.cuda.is_available() else 'cpu',
        repeats=args.repeats or (5 if args.tiny else 20),
        quick=args.quick,
        tiny=args.tiny,
        clock=time.process_time
        if args.clock == 'cpu' else time.perf_counter)
    console = Console()
    console.print(machine(setting))
    results = []
    for part in args.parts:
        start = time.perf_counter()
        measured = PARTS[part](setting)
        console.print(table(measured))
        console.print(f'part {part}: {time.perf_counter() - start:.0f} s')
        results += measured
    if args.out:
        with open(args.out, 'w') as file:
            json.dump(
                dict(
                    machine=machine(setting),
                    arguments=vars(args),
                    results=[r.as_dict() for r in results]),
                file,
                indent=2)
    return results


def table(results: List[Result]) -> Table:
    columns = Table()
    for name in ('part', 'figure', 'ratio', 'quartiles', 'of minima', 'target',
                 'verdict'):
        columns.add_column(name)
    for r in results:
        target = f'<= {r.at_most:g}' if r.at_most is not None else \
            f'>= {r.at_least:g}' if r.at_least is not None else ''
        columns.add_row(r.part, r.name, f'{r.ratio:.4g}',
                        f'{r.low:.4g} .. {r.high:.4g}',
                        f'{r.details.get("ratio_of_minima", r.ratio):.4g}',
                        target, r.verdict)
    return columns


def main() -> None:
    measure(build_parser().parse_args())


if __name__ == '__main__':
    main()
