"""The random generators of the process, so that resuming goes on exactly."""
import random
from typing import Any, Dict

import numpy as np
import torch
from mmengine.runner import IterBasedTrainLoop
from mmengine.utils import apply_to
from torch import Tensor

__all__ = ['random_state', 'restore_for_training', 'set_random_state']


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
    # NumPy and every generator, those of GPUs too, take states on the CPU.
    state = apply_to(state, lambda x: isinstance(x, Tensor), Tensor.cpu)
    version, internal, gauss = state['python']
    random.setstate((version, tuple(internal), gauss))
    name, keys, *rest = state['numpy']
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
    torch.set_rng_state(state['torch'])
    if len(state['cuda']) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state['cuda'])


def restore_for_training(loop: Any, state: Dict[str, Any]) -> None:
    """Restore the random state before the first batch is loaded.

    Call it before the first epoch of a resumed run. An iteration-based loop
    first skips the batches that the interrupted run had, which may draw
    numbers.

    Args:
        loop (BaseLoop): The training loop.
        state (dict): What :func:`random_state` gave.
    """
    if isinstance(loop, IterBasedTrainLoop):
        # The maintained MMEngine says here whether it does not skip.
        forward = getattr(loop, 'fast_forward_on_resume', False)
        loop.dataloader_iterator = _RestoreAfterSkipping(
            loop.dataloader_iterator, 0 if forward else loop.iter, state)
    else:
        set_random_state(state)


class _RestoreAfterSkipping:
    """An iterator over batches that restores the random state before the
    first one that is not skipped."""

    def __init__(self, iterator: Any, skipped: int,
                 state: Dict[str, Any]) -> None:
        self._iterator = iterator
        self._remaining = skipped
        self._state = state

    def __iter__(self):
        return self

    def __next__(self) -> Any:
        if self._remaining == 0:
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
