"""What checkpoints hold of weigher and interventions."""
from typing import Any, Dict, Iterable, Optional

from mmengine.logging import MMLogger
from mmengine.utils import apply_to
from torch import Tensor

from .interventions import Intervention
from .weighers import Weigher

__all__ = ['collect_state', 'restore_state']


def collect_state(weigher: Weigher,
                  interventions: Iterable[Intervention]) -> Dict[str, Any]:
    """The states of all as one, on the CPU.

    Args:
        weigher (Weigher): The weigher.
        interventions (Iterable[Intervention]): The interventions.

    Raises:
        ValueError: If two use the same key.
    """
    state = dict(weigher.state_dict())
    for intervention in interventions:
        own = intervention.state_dict()
        taken = sorted(state.keys() & own.keys())
        if taken:
            raise ValueError(
                f'{type(intervention).__name__}.state_dict has {taken}, '
                'which the weigher or another intervention has as well: '
                'rename them')
        state.update(own)
    return apply_to(state, lambda x: isinstance(x, Tensor), lambda x: x.cpu())


def restore_state(state: Optional[Dict[str, Any]], weigher: Weigher,
                  interventions: Iterable[Intervention], key: str,
                  logger: MMLogger) -> None:
    """Give all their states back.

    Args:
        state (dict, optional): What :func:`collect_state` returned. None, if
            the checkpoint has none.
        weigher (Weigher): The weigher.
        interventions (Iterable[Intervention]): The interventions.
        key (str): Where the checkpoint has the state.
        logger (MMLogger): Where to say that there is none.

    Raises:
        ValueError: If it is of another weigher or of other modalities.
    """
    if state is None:
        logger.info(f'The checkpoint holds nothing under "{key}": the weigher '
                    'starts anew.')
        return
    for part in (weigher, *interventions):
        try:
            part.load_state_dict(state)
        except KeyError as error:
            raise ValueError(
                f'under "{key}" the checkpoint has {sorted(state)}, but '
                f'{type(part).__name__} finds no {error} in it: resume '
                'with the same weigher and modalities, or start anew by '
                'load_from instead of resume') from error
