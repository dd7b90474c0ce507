"""What interventions do around the steps of optimizers."""
import functools
from types import MethodType
from typing import Any, Iterable, List, Set

from mmengine.optim import OptimWrapperDict
from torch.optim import Optimizer

from ..probes.base import untraced
from .base import Intervention

__all__ = ['StepHook', 'held_by', 'optimizers_of']


class StepHook:
    """Calls interventions before and after each step of an optimizer.

    A step that the fp16 scaler skips is none. PyTorch's own step hooks will
    not do: from the first ``torch.compile`` in a process on, PyTorch 2.1 calls
    those of no optimizer.

    Args:
        optimizer (Optimizer): The optimizer.
        interventions (Iterable[Intervention]): Called in their order, those
            that it gives at each step.
    """

    def __init__(self, optimizer: Optimizer,
                 interventions: Iterable[Intervention]) -> None:
        self.optimizer = optimizer
        self.interventions = interventions
        self._before = vars(optimizer).get('step')
        step = optimizer.step

        @functools.wraps(getattr(step, '__func__', step))
        def hooked(optimizer: Optimizer, *args, **kwargs) -> Any:
            for intervention in self.interventions:
                intervention.before_step(optimizer)
            result = step(*args, **kwargs)
            for intervention in self.interventions:
                intervention.after_step(optimizer)
            return result

        # A method, since schedulers that come later ask for its `__func__`.
        optimizer.step = self._step = MethodType(untraced(hooked), optimizer)

    def remove(self) -> None:
        """Call them no more."""
        self.interventions = ()
        if vars(self.optimizer).get('step') is not self._step:
            return  # wrapped once more, by a scheduler that came later
        if self._before is None:
            del self.optimizer.step
        else:
            self.optimizer.step = self._before


def held_by(*optimizers: Optimizer) -> Set[int]:
    """The ids of the parameters that optimizers change."""
    return {
        id(p)
        for optimizer in optimizers
        for group in optimizer.param_groups for p in group['params']
    }


def optimizers_of(wrapper: Any) -> List[Optimizer]:
    """The optimizers in an ``OptimWrapper`` or ``OptimWrapperDict``."""
    wrappers = list(wrapper.values()) if isinstance(
        wrapper, OptimWrapperDict) else [wrapper]
    return [wrapper.optimizer for wrapper in wrappers]
