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
        md=dict(config='../potholes/two-stream-r18_md_potholes.py'))
    baseline = 'plain'  # the others' differences to it are paired by seed
    ceilings = 'plain'  # is trained on each modality alone, too
    metric = 'mIoU'     # if left out, the first that the reports have a PCR of
    options = {}        # of all variants
"""
import argparse
import gc
import hashlib
import json
import multiprocessing
import os
import os.path as osp
import time
from multiprocessing.connection import wait

# Before PyTorch is imported. One thread each, unless said otherwise; and CUDA
# must not be initialised before the fork, not even to see whether it is there.
os.environ.setdefault('OMP_NUM_THREADS', '1')
os.environ.setdefault('PYTORCH_NVML_BASED_CUDA_CHECK', '1')

from argparse import Namespace
from dataclasses import dataclass, field
from importlib import import_module
from typing import Dict, Iterable, Mapping, Optional, Sequence

import cv2
import mmcv
import mmengine.fileio
import numpy as np
from filelock import FileLock, Timeout
from mmengine.config import Config, DictAction
from mmengine.registry import DATASETS, Registry, init_default_scope
from rich.console import Console
from rich.table import Table

from mwam_mm.atomic import replacing
from mwam_mm.cli import build_runner, load_config, load_safely
from mwam_mm.config import walk_dicts
from mwam_mm.evaluation import (
    build_comparison,
    comparison_csv,
    comparison_tables,
    format_comparison,
    newest_report,
)
from mwam_mm.layout import ModalityLayout
from mwam_mm.visualization import plot_comparison

STUDY_KEYS = ('variants', 'config', 'seeds', 'baseline', 'ceilings', 'metric',
              'options')
# Not imported before the training starts, which takes seconds.
IMPORTS = ('torch._dynamo', 'torch.onnx', 'torch.utils.tensorboard', 'yapf')
VARIANT_KEYS = ('config', 'options', 'only')


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


@dataclass
class Variant:
    """One way to train.

    Args:
        config (str): Path of the config.
        options (dict): Settings that override those of the config.
        only (str, optional): The modality that it is trained and evaluated
            on alone.
    """
    config: str
    options: dict = field(default_factory=dict)
    only: Optional[str] = None

    def load(self, folder: str) -> Config:
        """The config with everything but the seed."""
        cfg = load_config(
            Namespace(
                config=self.config,
                cfg_options=self.options,
                work_dir=folder,
                launcher='none',
                local_rank=0))
        if self.only is not None:
            keep_modality(cfg, self.only)
        return cfg


@dataclass
class Study:
    """What is compared.

    Args:
        variants (dict[str, Variant]): By name, ceilings included.
        seeds (Sequence[int]): Seeds of each.
        work_dir (str): Folder of all runs and results.
        baseline (str, optional): Name of the variant to compare with.
        ceilings (dict[str, str]): Modality to the name of its ceiling.
        metric (str, optional): What to tabulate.
    """
    variants: Dict[str, Variant]
    seeds: Sequence[int]
    work_dir: str
    baseline: Optional[str] = None
    ceilings: Dict[str, str] = field(default_factory=dict)
    metric: Optional[str] = None


@dataclass
class Run:
    """One variant with one seed, in a folder of its own.

    Args:
        name (str): Name of the variant.
        title (str): What messages call it.
        variant (Variant): The variant.
        seed (int): The seed.
        folder (str): Work dir.
    """
    name: str
    title: str
    variant: Variant
    seed: int
    folder: str

    def __str__(self) -> str:
        return f'{self.title} with seed {self.seed}'

    @property
    def log(self) -> str:
        """str: Path of what it prints."""
        return osp.join(self.folder, 'train.log')

    @property
    def finished(self) -> str:
        """str: Path of the file that says that it ended well."""
        return osp.join(self.folder, 'finished')

    def is_done(self) -> bool:
        """Whether it need not be repeated.

        Raises:
            RuntimeError: If its report is gone, or it was trained with other
                settings.
        """
        # A report alone does not tell: every validation of a run writes it.
        if not osp.exists(self.finished):
            return False
        if newest_report(self.folder, 'val') is None:
            raise RuntimeError(
                f'{self.finished} says that this run is done, but there is no '
                'missing_modality_val.json of it: delete the file to train '
                'again')
        with open(self.finished) as f:
            settings = f.read()
        if settings and settings != fingerprint(
                self.variant.load(self.folder)):
            raise RuntimeError(
                f'{self.finished} is of a run with other settings than '
                f'{self} has now: delete the file to train again, or choose '
                'another --work-dir')
        return True

    def report(self) -> dict:
        with open(newest_report(self.folder, 'val')) as f:
            return json.load(f)

    def train(self) -> None:
        """Train, in a process of its own, unless another one just has."""
        lock = FileLock(osp.join(self.folder, 'lock'))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            # Say one tool for each GPU, with ceilings that both need.
            print(f'{self} is being trained already: waiting', flush=True)
            lock.acquire()
        if self.is_done():
            return
        with open(self.log, 'w') as f:
            os.dup2(f.fileno(), 1)
            os.dup2(f.fileno(), 2)
        earlier = newest_report(self.folder, 'val')
        cfg = self.variant.load(self.folder)
        settings = fingerprint(cfg)
        cfg.merge_from_dict({'randomness.seed': self.seed})
        build_runner(cfg).train()
        if newest_report(self.folder, 'val') != earlier:
            with open(self.finished, 'w') as f:
                f.write(settings)


def fingerprint(cfg: Config) -> str:
    """A short text that is the same for the same settings."""
    settings = {k: v for k, v in cfg.to_dict().items() if k != 'work_dir'}
    text = json.dumps(settings, sort_keys=True, default=repr)
    return hashlib.sha256(text.encode()).hexdigest() + '\n'


def keep_modality(cfg: Config, name: str) -> None:
    """Make a config one of a single modality, in place.

    Raises:
        ValueError: If nothing in the config has a modality of this name.
    """
    found = False
    for _, part in walk_dicts(cfg._cfg_dict):
        for key in ('modalities', 'branches'):
            value = part.get(key)
            if isinstance(value, Mapping) and name in value:
                part[key] = type(value)({name: value[name]})
                found = True
    if not found:
        raise ValueError(f'{cfg.filename} has no modality {name!r}')
    for key in ('val_cfg', 'test_cfg'):
        # It may name combinations that there no longer are.
        (cfg.get(key) or {}).pop('combinations', None)


def config_name(path: str) -> str:
    return osp.splitext(osp.basename(path))[0]


def load_study(args: argparse.Namespace) -> Study:
    """The study of the command line.

    Raises:
        ValueError: If a key or name of the study is unknown, or comes twice.
    """
    study = read_study(args)
    # Not after hours of training.
    if study.baseline is not None and study.baseline not in study.variants:
        raise ValueError(f'baseline is {study.baseline!r}, but the variants '
                         f'are {list(study.variants)}')
    if len(set(study.seeds)) < len(study.seeds):
        raise ValueError(f'a seed comes twice in {list(study.seeds)}')
    return study


def read_study(args: argparse.Namespace) -> Study:
    """:func:`load_study`, with the names as they are given."""
    if args.study is None:
        names = [config_name(path) for path in args.configs]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise ValueError(f'several configs are called {sorted(twice)}: '
                             'compare them in a study, under other names')
        return Study(
            variants={
                name: Variant(path, dict(args.cfg_options))
                for name, path in zip(names, args.configs)
            },
            seeds=args.seeds or [0, 1, 2],
            work_dir=args.work_dir or 'work_dirs/compare_seeds',
            baseline=args.baseline,
            metric=args.metric)

    cfg = Config.fromfile(args.study)
    check_keys(cfg.to_dict(), STUDY_KEYS, args.study)
    seeds = args.seeds or cfg.get('seeds')
    for key, value in (('seeds', seeds), ('variants', cfg.get('variants'))):
        if not value:
            raise ValueError(f'{args.study} names no {key}')
    base = osp.dirname(args.study)
    variants = {}
    for name, entry in cfg.variants.to_dict().items():
        where = f'{args.study}: variants[{name!r}]'
        if osp.basename(name) != name or not name:
            raise ValueError(f'{where}: a name is one of a folder, too')
        check_keys(entry, VARIANT_KEYS, where)
        path = entry.get('config', cfg.get('config'))
        if path is None:
            raise ValueError(f'{where} names no config, and neither does the '
                             'study')
        variants[name] = Variant(
            osp.normpath(osp.join(base, path)), {
                **cfg.get('options', {}),
                **entry.get('options', {}),
                **args.cfg_options
            }, entry.get('only'))
    baseline = args.baseline or cfg.get('baseline')
    ceilings = {}
    if cfg.get('ceilings') is not None:
        if cfg.ceilings not in variants:
            raise ValueError(f'{args.study}: ceilings is {cfg.ceilings!r}, '
                             f'but the variants are {list(variants)}')
        joint = variants[cfg.ceilings]
        for modality in modalities_of(joint.load('.')):
            ceilings[modality] = name = f'{modality}_alone'
            if name in variants:
                raise ValueError(f'{args.study}: variants[{name!r}] has the '
                                 'name of a ceiling: choose another one')
            variants[name] = Variant(joint.config, joint.options, modality)
    if args.variants is not None:
        unknown = set(args.variants) - set(variants)
        if unknown:
            raise ValueError(f'--variants {sorted(unknown)}: the variants are '
                             f'{list(variants)}')
        keep = {*args.variants, *ceilings.values(), baseline}
        variants = {k: v for k, v in variants.items() if k in keep}
    return Study(
        variants,
        seeds,
        args.work_dir or osp.join('work_dirs/studies',
                                  config_name(args.study)),
        baseline,
        ceilings,
        args.metric or cfg.get('metric'))


def check_keys(found: Mapping, known: Sequence[str], where: str) -> None:
    unknown = set(found) - set(known)
    if unknown:
        raise ValueError(f'{where} has {sorted(unknown)}; known are '
                         f'{list(known)}')


def modalities_of(cfg: Config) -> Sequence[str]:
    """The modalities of a config's model.

    Raises:
        ValueError: If the model does not say.
    """
    for _, part in walk_dicts(cfg.model.to_dict()):
        if isinstance(part.get('modalities'), Mapping):
            return ModalityLayout(part['modalities']).names
    raise ValueError(f'{cfg.filename} has a model without modalities, so '
                     'there are no ceilings')


class DecodedImages:
    """Files and the images in them, kept in memory.

    Stands between the loading transforms and the two functions that all of
    them use. After :meth:`fill` it only answers, so that the forked runs
    share what it holds and add nothing. Files that it does not know are read
    as always.

    Args:
        limit (float): Bytes of images to keep.
    """

    def __init__(self, limit: float) -> None:
        self._room = limit
        self._filling = False
        self._files: Dict[str, bytes] = {}
        # The contents of the files stay where they are: id() tells them.
        self._images: Dict[int, Dict[str, np.ndarray]] = {}
        self._get, mmengine.fileio.get = mmengine.fileio.get, self.get
        self._imfrombytes, mmcv.imfrombytes = (
            mmcv.imfrombytes, self.imfrombytes)

    def get(self, filepath, backend_args=None) -> bytes:
        """In place of :func:`mmengine.fileio.get`."""
        key = f'{filepath} {backend_args}'
        if key in self._files:
            return self._files[key]
        content = self._get(filepath, backend_args)
        if self._filling:
            self._files[key] = content
            self._images[id(content)] = {}
        return content

    def imfrombytes(self, content: bytes, *args, **kwargs) -> np.ndarray:
        """In place of :func:`mmcv.imfrombytes`."""
        images = self._images.get(id(content), {})
        key = repr((args, sorted(kwargs.items())))
        if key in images:
            return images[key].copy()  # transforms work in place
        image = self._imfrombytes(content, *args, **kwargs)
        if self._filling and image is not None:
            images[key] = image.copy()
            self._room -= image.nbytes
        return image

    def fill(self, dataset: Mapping) -> None:
        """Read the samples of a dataset, as long as there is room."""
        built = DATASETS.build(dict(dataset))
        self._filling = True
        try:
            for i in range(len(built)):
                if self._room < 0:
                    break
                built[i]
        finally:
            self._filling = False


def import_ahead(scope: str) -> None:
    """Import what a run of a default scope imports sooner or later."""
    init_default_scope(scope)
    for found in (f'{scope}.registry', 'mmengine.registry',
                  'mwam_mm.registry'):
        for registry in vars(import_module(found)).values():
            if isinstance(registry, Registry):
                registry.import_from_location()
    for name in IMPORTS:
        try:
            import_module(name)
        except ImportError:
            pass  # the runs do without it, or say what they lack


def read_ahead(variants: Iterable[Variant], limit: float) -> None:
    """Import and read what the variants need, before they are forked."""
    images = DecodedImages(limit)
    seen = set()
    for variant in variants:
        try:
            cfg = variant.load('.')
            import_ahead(cfg.get('default_scope', 'mmengine'))
            for split in ('train', 'val'):
                dataset = cfg[f'{split}_dataloader'].dataset
                # Variants differ in what they do to the images, not in them.
                key = repr({k: v for k, v in dataset.items()
                            if k != 'pipeline'})
                if key not in seen:
                    seen.add(key)
                    images.fill(dataset)
        except Exception as error:
            # The run comes to it as well, and its log has it in full.
            print(f'{variant.config}: not read ahead, {error}', flush=True)


def train_all(runs: Sequence[Run], jobs: int) -> None:
    """Train, several at a time, each in a process of its own.

    Raises:
        RuntimeError: If runs fail or write no report, after all others have
            ended. The message names their logs.
    """
    context = multiprocessing.get_context('fork')
    gc.collect()
    gc.freeze()  # so that the runs leave the memory that they share alone
    waiting, running, failures = list(runs), {}, []
    started, done = time.time(), 0
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                run = waiting.pop(0)
                os.makedirs(run.folder, exist_ok=True)
                print(f'training {run}: {run.log}', flush=True)
                process = context.Process(target=run.train)
                process.start()
                running[process.sentinel] = run, process
            for sentinel in wait(list(running)):
                run, process = running.pop(sentinel)
                process.join()
                if process.exitcode:
                    failures.append(f'{run} failed with exit status '
                                    f'{process.exitcode}: see {run.log}')
                elif not osp.exists(run.finished):
                    failures.append(f'{run} left no missing_modality_val.json'
                                    f': see {run.log}')
                done += 1
                passed = time.time() - started
                left = passed / done * (len(runs) - done)
                print(
                    f'{done} of {len(runs)} runs in {passed:.0f} s, about '
                    f'{left:.0f} s left' + (
                        f'; {failures[-1]}' if failures else ''),
                    flush=True)
    finally:
        for _, process in running.values():
            process.terminate()
            process.join()
    if failures:
        raise RuntimeError('\n'.join(failures))


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
    """The comparison of runs that are done."""
    reports = [(run, run.report()) for run in runs]
    metric = choose_metric(study.metric, reports[0][1])
    scores: Dict[str, Dict[int, dict]] = {name: {} for name in study.variants}
    for run, report in reports:
        rows = rows_of(report, metric)
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


def main() -> None:
    parser = build_parser()
    args = parser.parse_args()
    if bool(args.configs) == bool(args.study):
        parser.error('name configs, or a study by --study')
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
        cv2.setNumThreads(0)  # threads do not outlive a fork
        variants = {id(run.variant): run.variant for run in todo}
        read_ahead(variants.values(), args.memory * 2**30)
        train_all(todo, args.jobs)
    comparison = compare(study, runs)
    print_tables(comparison)
    save(comparison, study.work_dir)


if __name__ == '__main__':
    main()
