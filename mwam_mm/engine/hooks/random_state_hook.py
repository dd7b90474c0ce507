"""Resuming that goes on with the same random numbers."""
from typing import Any, Dict, Optional

from mmengine.dist import get_rank, get_world_size
from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop
from torch.utils.data import DataLoader

from mwam_mm.registry import HOOKS

from .random_state import (
    BatchSeeds,
    random_state,
    restore_for_training,
    set_random_state,
)


@HOOKS.register_module()
class RandomStateHook(Hook):
    """Go on with the same random numbers when training resumes.

    The states of Python's, NumPy's and PyTorch's generators are saved in
    checkpoints under ``random_state``, and restored before the first batch of
    a resumed run. The numbers that validation draws do not count: training
    goes on after it as if there had been none, since a resumed run does not
    repeat the validation that followed its checkpoint. Worker processes of
    the training data get a seed for each batch (:class:`BatchSeeds`).

    Only the first of several processes saves, so what the others draw outside
    of their workers is not the same when they resume.

    Note:
        A run with this hook draws other numbers than one without, in worker
        processes and after a validation. Give it to both of two runs that are
        to be compared.

    Examples:
        .. code-block:: python

            default_hooks = dict(
                random_state=dict(type='mwam_mm.RandomStateHook'))
    """

    def __init__(self) -> None:
        self._saved: Optional[Dict[str, Any]] = None
        self._of_training: Optional[Dict[str, Any]] = None
        self._seeds: Optional[BatchSeeds] = None

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """Keep the state until training starts.

        Args:
            runner (Runner): The runner of the training process.
            checkpoint (dict): The loaded checkpoint.
        """
        self._saved = checkpoint.get('random_state', {})

    def before_train_epoch(self, runner) -> None:
        """Go on with the random numbers of the interrupted run.

        Args:
            runner (Runner): The runner of the training process.
        """
        loop, loader = runner.train_loop, runner.train_dataloader
        # A loader that is no DataLoader looks after its workers itself.
        has_workers = isinstance(loader, DataLoader) and loader.num_workers
        if has_workers and (self._seeds is None
                            or self._seeds.loader is not loader):
            self._seeds = BatchSeeds(loader, runner.seed, get_rank())
        if self._seeds is not None and not isinstance(loop,
                                                      IterBasedTrainLoop):
            self._seeds.after_epochs(loop.epoch)
        state, self._saved = self._saved, None
        if state is not None and runner.iter > 0:
            restore_for_training(loop, state if get_world_size() == 1 else {},
                                 self._seeds)

    def before_val(self, runner) -> None:
        """Keep the random state.

        Args:
            runner (Runner): The runner of the validation process.
        """
        self._of_training = random_state()

    def after_val(self, runner) -> None:
        """Go on with the random numbers of training.

        Args:
            runner (Runner): The runner of the validation process.
        """
        if self._of_training is not None:
            set_random_state(self._of_training)
            self._of_training = None

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """Save the random state.

        Args:
            runner (Runner): The runner of the training process.
            checkpoint (dict): The checkpoint to save.
        """
        if get_world_size() == 1:
            # CheckpointHook with save_best saves within the validation.
            checkpoint['random_state'] = (
                self._of_training or random_state())
