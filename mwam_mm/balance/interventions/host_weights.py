"""K on the host, for draws that decide what the next iteration computes."""
from typing import Any, Dict, Mapping, Sequence

import torch
from torch import Tensor

from ..probes.base import untraced

__all__ = ['HostWeights']


class HostWeights:
    """K of the iteration before, on the CPU.

    It is sent there on the way, so that the next iteration need not wait for
    the end of this one.

    Args:
        modalities (Sequence[str]): The modalities' names, in the order of K.
        weights (Tensor): K, shape (M,).
    """

    def __init__(self, modalities: Sequence[str], weights: Tensor) -> None:
        self.modalities = tuple(modalities)
        #: Callable: Takes a new K, shape (M,). A compiled graph might record
        #: another event than the one that is waited for.
        self.keep = untraced(self._keep)
        self.keep(weights)

    def _keep(self, weights: Tensor) -> None:
        self._copied: Any = None
        self._weights = weights
        if weights.is_cuda:
            self._weights = torch.empty(
                weights.shape, dtype=weights.dtype, pin_memory=True)
            self._weights.copy_(weights, non_blocking=True)
            self._copied = torch.cuda.Event()
            self._copied.record()

    def state(self) -> Dict[str, float]:
        """What a checkpoint needs, so that a resumed run draws the same."""
        return dict(zip(self.modalities, self.weights.tolist()))

    def load(self, state: Mapping[str, float]) -> None:
        """Restore :meth:`state`, of the same modalities."""
        self.keep(torch.tensor([state[name] for name in self.modalities]))

    @property
    def weights(self) -> Tensor:
        """Tensor: K, shape (M,)."""
        if self._copied is not None:
            self._copied.synchronize()
            self._copied = None
        return self._weights
