"""When the balancing acts."""
from typing import Any, Iterator, Optional, Sequence

from mmengine.model import is_model_wrapper
from mmengine.runner import EpochBasedTrainLoop

from mwam_mm.models.backbones import BranchOutputs

from .interventions import Context, Intervention
from .signal import Signal

__all__ = ['Acting', 'Window']


class Window:
    """From when on and until when the balancing acts.

    Args:
        begin (int): The first iteration or epoch, counted from 0.
        end (int, optional): The first one after it; None if there is none.
        by_epoch (bool): Whether both count epochs.
        where (str): What they are arguments of, for the error messages.

    Raises:
        ValueError: If ``begin`` is negative or ``end`` does not come after
            it. In :meth:`attach`, if ``by_epoch`` is for a training loop
            that counts no epochs, or heads of modalities would idle.
    """

    def __init__(self, begin: int, end: Optional[int], by_epoch: bool,
                 where: str) -> None:
        if begin < 0 or end is not None and end <= begin:
            raise ValueError(f'{where}: begin={begin} and end={end} enclose '
                             'nothing: 0 <= begin < end')
        self.begin, self.end, self.by_epoch = begin, end, by_epoch
        self._where = where
        self._runner: Any = None

    def attach(self, context: Context) -> None:
        """Follow a training run.

        Args:
            context (Context): The run.
        """
        self._runner = runner = context.runner
        if self.by_epoch and not isinstance(runner.train_loop,
                                            EpochBasedTrainLoop):
            raise ValueError(
                f'{self._where}.by_epoch=True needs train_cfg.by_epoch=True: '
                f'{type(runner.train_loop).__name__} counts iterations only')
        last = runner.max_epochs if self.by_epoch else runner.max_iters
        if self.begin >= last:
            runner.logger.warning(
                f'{self._where}.begin={self.begin} lies after the end of the '
                f'training, {last}, so nothing is balanced')
        if (self.begin or self.end is not None) and \
                'loss' in context.interventions and \
                is_model_wrapper(runner.model) and not getattr(
                    runner.model, 'find_unused_parameters', True):
            raise ValueError(
                f'{self._where}: outside begin and end the heads that "loss" '
                'trains have no gradient, which DistributedDataParallel '
                'takes for an error: set find_unused_parameters=True')

    @property
    def over(self) -> bool:
        """bool: Whether it has ended."""
        return self.end is not None and self._now() >= self.end

    @property
    def open(self) -> bool:
        """bool: Whether the balancing acts."""
        return self._now() >= self.begin and not self.over

    def _now(self) -> int:
        return self._runner.epoch if self.by_epoch else self._runner.iter


class Acting:
    """The interventions, or none outside the window.

    Args:
        interventions (Sequence[Intervention]): All of the run.
        window (Window): When they act.
    """

    def __init__(self, interventions: Sequence[Intervention],
                 window: Window) -> None:
        self._interventions = interventions
        self._window = window

    def __iter__(self) -> Iterator[Intervention]:
        return iter(self._interventions if self._window.open else ())

    def before_iter(self, data_batch: Any) -> None:
        """:meth:`Intervention.before_iter` of each."""
        for intervention in self:
            intervention.before_iter(data_batch)

    def at_features(self, signal: Signal,
                    outputs: BranchOutputs) -> BranchOutputs:
        """:meth:`Intervention.at_features`, one after the other."""
        return self._through('at_features', signal, outputs)

    def at_fusion(self, signal: Signal,
                  outputs: BranchOutputs) -> BranchOutputs:
        """:meth:`Intervention.at_fusion`, one after the other."""
        return self._through('at_fusion', signal, outputs)

    def at_losses(self, signal: Signal, losses: Any) -> Any:
        """:meth:`Intervention.at_losses`, one after the other."""
        return self._through('at_losses', signal, losses)

    def _through(self, method: str, signal: Signal, given: Any) -> Any:
        for intervention in self:
            returned = getattr(intervention, method)(signal, given)
            if returned is None and given is not None:
                raise TypeError(
                    f'{type(intervention).__name__}.{method} returned None: '
                    'it must return what it was called with, changed or not')
            given = returned
        return given
