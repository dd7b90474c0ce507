"""The random generators of the process, so that resuming goes on exactly."""
import random
from typing import Any, Dict, Optional, Sequence

import numpy as np
import torch
from mmengine.runner import IterBasedTrainLoop
from mmengine.utils import apply_to
from torch import Tensor
from torch.utils.data import DataLoader, get_worker_info

__all__ = [
    'BatchSeeds', 'random_state', 'restore_for_training', 'set_random_state'
]


def random_state() -> Dict[str, Any]:
    """The states of Python's, NumPy's and PyTorch's generators.

    Returns:
        dict: Plain values and tensors on the CPU, for a checkpoint.
    """
    version, internal, gauss = random.getstate()
    name, keys, *rest = np.random.get_state()
    return dict(
        python=[version, list(internal), gauss],
        numpy=[name, torch.from_numpy(keys.astype(np.int64)), *rest],
        torch=torch.get_rng_state(),
        cuda=torch.cuda.get_rng_state_all())  # [] without a GPU


def set_random_state(state: Dict[str, Any]) -> None:
    """Restore :func:`random_state`.

    Args:
        state (dict): What :func:`random_state` gave, on any device: loading a
            checkpoint moves all its tensors to the device of the model. The
            generators of GPUs stay as they are where their number is not the
            same as when the state was taken.
    """
    # All generators, those of GPUs too, take their state on the CPU.
    state = apply_to(state, lambda x: isinstance(x, Tensor), Tensor.cpu)
    version, internal, gauss = state['python']
    random.setstate((version, tuple(internal), gauss))
    name, keys, *rest = state['numpy']
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
    torch.set_rng_state(state['torch'])
    if len(state['cuda']) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state['cuda'])


class BatchSeeds:
    """Seed worker processes anew for every batch.

    MMEngine seeds a worker when it starts, so what it draws depends on all
    batches that it has loaded before, and workers that start anew in each
    epoch draw the same in each. Here the pass over the data, for which workers
    start, and the number of the batch in it decide: a resumed run need not
    load again what it skips.

    Args:
        loader (DataLoader): Has workers that are not started yet. It gets
            other functions for starting them and for collating, which call
            those that it had.
        seed (int): Of the run.
        rank (int): Of this process.
    """

    def __init__(self, loader: DataLoader, seed: int, rank: int) -> None:
        self.loader = loader
        self._seed, self._rank = seed, rank
        self._num_workers = loader.num_workers
        # The number of the next batch, None outside of workers, as in this
        # process.
        self._number: Optional[int] = None
        self._start, self._collate = loader.worker_init_fn, loader.collate_fn
        loader.worker_init_fn = self._start_worker
        loader.collate_fn = self._seed_after
        # It gives a number whenever workers start, which tells passes apart.
        loader.generator = torch.Generator().manual_seed(seed)
        self.after_batches(0)

    def __getstate__(self) -> dict:
        # A worker that is spawned gets all but the loader, which stays here.
        return dict(self.__dict__, loader=None)

    def after_batches(self, num: int) -> None:
        """The workers that start next begin with batch ``num``."""
        self._numbers = range(num, num + self._num_workers)

    def after_epochs(self, num: int) -> None:
        """The workers that start next begin with epoch ``num``."""
        if not self.loader.persistent_workers:
            self.loader.generator.manual_seed(self._seed + num)
            return
        # Persistent workers go through all epochs in one pass. A resumed run
        # starts them later, and each epoch begins with worker 0.
        length, step = len(self.loader), self._num_workers
        self._numbers = [
            num * len(range(i, length, step)) * step + i for i in range(step)
        ]

    def _start_worker(self, worker_id: int) -> None:
        if self._start is not None:
            self._start(worker_id)
        self._pass = get_worker_info().seed - worker_id
        self._number = self._numbers[worker_id]
        self._seed_batch()

    def _seed_after(self, samples: Sequence) -> Any:
        batch = self._collate(samples)
        if self._number is not None:
            self._number += self._num_workers
            self._seed_batch()
        return batch

    def _seed_batch(self) -> None:
        seeds = np.random.SeedSequence(
            (self._seed, self._rank, self._pass, self._number))
        of_python, of_numpy, of_torch = map(int, seeds.generate_state(3))
        random.seed(of_python)
        np.random.seed(of_numpy)
        torch.manual_seed(of_torch)


def restore_for_training(loop: Any, state: Dict[str, Any],
                         seeds: Optional[BatchSeeds]) -> None:
    """Restore the random state before the first batch is loaded.

    Call it before the first epoch of a resumed run. An iteration-based loop
    first skips the batches that the interrupted run had, which may draw
    numbers.

    Args:
        loop (BaseLoop): The training loop.
        state (dict): What :func:`random_state` gave; empty to leave the
            generators of this process alone.
        seeds (BatchSeeds, optional): Those of the loop's workers, if it has
            any.
    """
    if isinstance(loop, IterBasedTrainLoop):
        # The maintained MMEngine says here whether it does not skip.
        forward = getattr(loop, 'fast_forward_on_resume', False)
        if forward and seeds is not None:
            seeds.after_batches(loop.iter)  # with what was not drawn yet
        loop.dataloader_iterator = _RestoreAfterSkipping(
            loop.dataloader_iterator, 0 if forward else loop.iter, state,
            seeds)
    elif state:
        set_random_state(state)


class _RestoreAfterSkipping:
    """An iterator over batches that restores the random state before the
    first one that is not skipped."""

    def __init__(self, iterator: Any, skipped: int,
                 state: Dict[str, Any],
                 seeds: Optional[BatchSeeds]) -> None:
        self._iterator = iterator
        self._remaining = skipped
        self._state = state
        self._seeds = seeds

    def __iter__(self):
        return self

    def __next__(self) -> Any:
        if self._remaining == 0 and self._state:
            # Starting to iterate draws a seed for workers.
            getattr(self._iterator, '_ensure_iterator', lambda: None)()
            set_random_state(self._state)
        self._remaining -= 1
        return next(self._iterator)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._iterator, name)

    def skip_iter(self, num_iters: int) -> None:
        """As MMEngine's own, in versions that have it."""
        self._iterator.skip_iter(num_iters)
        self._remaining -= num_iters
        if self._seeds is not None and self._iterator._iterator is None:
            # No worker has loaded what the sampler left out.
            self._seeds.after_batches(num_iters)
