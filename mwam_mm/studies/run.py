"""One training of a study, and several at a time."""
import gc
import hashlib
import json
import multiprocessing
import os
import os.path as osp
import time
from dataclasses import dataclass
from importlib import import_module
from multiprocessing.connection import wait
from typing import Iterable, Sequence

from filelock import FileLock, Timeout
from mmengine.config import Config
from mmengine.registry import Registry, init_default_scope

from mwam_mm.cli import build_runner
from mwam_mm.evaluation import newest_report

from .decoded_images import DecodedImages
from .study import Variant

# Not imported before the training starts, which takes seconds.
IMPORTS = ('torch._dynamo', 'torch.onnx', 'torch.utils.tensorboard', 'yapf')


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
                settings or has started from another file.
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
            settings = f.read().splitlines()
        if not settings:
            return True
        cfg = self.variant.load(self.folder)
        if settings[0] != fingerprint(cfg):
            raise RuntimeError(
                f'{self.finished} is of a run with other settings than '
                f'{self} has now: delete the file to train again, or choose '
                'another --work-dir')
        start = self.start(cfg)
        if osp.isfile(start) and settings[1:] and (
                settings[1] != digest_of(start)):
            raise RuntimeError(
                f'{self.finished} is of a run that has started from another '
                f'file than {start} is now: delete the file to train again, '
                'or choose another --work-dir')
        return True

    def start(self, cfg: Config) -> str:
        """Path of what it starts from, empty for nothing."""
        # The second of two stages goes on from the first one's same seed.
        return (cfg.get('load_from') or '').replace('{seed}', str(self.seed))

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
        settings = fingerprint(cfg) + '\n'
        start = self.start(cfg)
        if osp.isfile(start):
            settings += digest_of(start) + '\n'
        cfg.merge_from_dict({'randomness.seed': self.seed})
        if start:
            cfg.load_from = start
        else:
            # What a run that was cut off has left may be of other settings.
            cfg.resume = False
        build_runner(cfg).train()
        if newest_report(self.folder, 'val') != earlier:
            with open(self.finished, 'w') as f:
                f.write(settings)


def fingerprint(cfg: Config) -> str:
    """A short text that is the same for the same settings."""
    settings = {k: v for k, v in cfg.to_dict().items() if k != 'work_dir'}
    text = json.dumps(settings, sort_keys=True, default=repr)
    return hashlib.sha256(text.encode()).hexdigest()


def digest_of(path: str) -> str:
    """A short text that is the same for the same content of a file."""
    with open(path, 'rb') as f:
        return hashlib.sha256(f.read()).hexdigest()


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
