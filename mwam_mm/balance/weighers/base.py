"""What turns the signal of a forward into one weight for each modality."""
from typing import Any, Dict, List, Sequence

import torch
from torch import Tensor

from ..probes import Probe
from ..signal import Signal

__all__ = ['Weigher']


class Weigher:
    """Base of the weighers. It knows no intervention.

    After each training forward :class:`BalanceHook` calls :meth:`observe`,
    then :meth:`step`. Tensors should stay on the device of the signal, since
    reading them makes the host wait. In distributed runs K must be the same
    on every rank: reduce what it is computed from over the ranks in
    :meth:`step`, which every rank calls equally often.

    Args:
        modalities (Sequence[str]): The modalities' names, in the order of K.

    Examples:
        .. code-block:: python

            @WEIGHERS.register_module()
            class Brightness(Weigher):
                # K in favour of the modality whose images are darker.

                def observe(self, signal):
                    means = [signal.inputs[m].abs().mean()
                             for m in self.modalities]
                    self._seen = torch.stack(means).detach()

                def step(self):
                    share = self._seen / self._seen.sum()
                    return 1.5 - share

            custom_hooks = [
                dict(type='mwam_mm.BalanceHook',
                     weigher=dict(type='Brightness'))
            ]
    """

    #: Whether K are probabilities, which the intervention ``dropout`` takes.
    probabilities = False
    #: Whether it looks at the images that enter the branches. Else a branch
    #: may take something else, such as points.
    needs_images = True

    def __init__(self, modalities: Sequence[str]) -> None:
        self.modalities = tuple(modalities)

    def observe(self, signal: Signal) -> None:
        """Take in one training forward.

        Args:
            signal (Signal): What the forward offers.
        """
        raise NotImplementedError

    def step(self) -> Tensor:
        """End the batch.

        Returns:
            Tensor: K of shape (M,), finite; 1 for a modality of which nothing
            is known yet.
        """
        raise NotImplementedError

    def observe_metrics(self, metrics: Dict[str, Any]) -> None:
        """Take in a validation, for weighers that go by its metrics.

        Args:
            metrics (dict[str, Any]): Name to value, the same on every rank.
                :class:`MissingModalityValLoop` has those of each combination,
                such as ``'rgb/mIoU'`` and ``'rgb+depth/mIoU'``.
        """

    def scalars(self) -> Dict[str, Tensor]:
        """What to log beside K, read as often as the logger writes.

        Returns:
            dict[str, Tensor]: Names such as ``'FRM'`` to one value for each
            modality, shape (M,). NaN is not logged.
        """
        return {}

    def warnings(self) -> List[str]:
        """What the user should know of the training so far, read as often as
        the logger writes. Each text is said once.

        Returns:
            list[str]: The texts.
        """
        return []

    def attach(self, probe: Probe) -> None:
        """Prepare for training, for weighers that look after the branches.

        Args:
            probe (Probe): Knows the modalities' branches in the model.
        """

    def detach(self) -> None:
        """Leave the model as it was."""

    def to(self, device: torch.device) -> None:
        """Move to the model's device before training starts."""

    def state_dict(self) -> Dict[str, Any]:
        """What :meth:`load_state_dict` needs to go on exactly: tensors and
        plain values, with K's order named where it matters."""
        return {}

    def load_state_dict(self, state_dict: Dict[str, Any]) -> None:
        """Restore :meth:`state_dict`, whose tensors may be on any device."""
