"""The bank that smooths FRM over iterations."""
from typing import Dict, Optional

import torch
from torch import Tensor


class FRMBank:
    r"""Exponential moving average of each modality's FRM.

    .. math::
        \hat F(0) = F(0), \qquad
        \hat F(j) = w \hat F(j-1) + (1 - w) F(j)

    (Eq. 2). A modality without a valid value keeps its entry, which so stands
    in for it.

    Args:
        momentum (float): w. Defaults to 0.5.
        warm_start (bool): Whether the first value is F(0) itself; else the
            average starts from 0, giving (1 - w) F(0). Defaults to True.

    Examples:
        >>> import torch
        >>> bank = FRMBank()
        >>> bank.update(torch.tensor([4., 8.]))
        tensor([4., 8.])
        >>> bank.update(torch.tensor([2., 9.]), torch.tensor([True, False]))
        tensor([3., 8.])
    """

    def __init__(self, momentum: float = 0.5, warm_start: bool = True) -> None:
        if not 0 <= momentum < 1:
            raise ValueError('momentum must lie in [0, 1), but got '
                             f'{momentum}')
        self.momentum = momentum
        self.warm_start = warm_start
        self.values: Optional[Tensor] = None
        self.seen: Optional[Tensor] = None

    def update(self, frm: Tensor, valid: Optional[Tensor] = None) -> Tensor:
        """Take in the metric of one batch.

        Args:
            frm (Tensor): Metric per modality, shape (M,).
            valid (Tensor, optional): bool of shape (M,); entries that are not
                valid stay untouched. Non-finite entries are never valid.
                Defaults to None, all finite ones.

        Returns:
            Tensor: The smoothed metric, shape (M,); 0 where never seen.

        Raises:
            ValueError: If the number of modalities changes.
        """
        finite = torch.isfinite(frm)
        valid = finite if valid is None else valid & finite
        if self.values is None:
            self.clear(frm)
        if self.values.shape != frm.shape:
            raise ValueError(f'the bank holds {len(self.values)} modalities, '
                             f'but got the metric of {tuple(frm.shape)}')
        old = self.values.to(frm)
        seen = self.seen.to(valid.device)
        new = self.momentum * old + (1 - self.momentum) * frm
        if self.warm_start:
            new = torch.where(seen, new, frm)
        self.values = torch.where(valid, new, old)
        self.seen = seen | valid
        return self.values

    def clear(self, like: Tensor) -> None:
        """Start over, with entries of the shape, type and device of another
        tensor."""
        self.values = torch.zeros_like(like)
        self.seen = torch.zeros_like(like, dtype=torch.bool)

    def to(self, device: torch.device, dtype: torch.dtype) -> None:
        """Move to a device, with values of a data type."""
        if self.values is not None:
            self.values = self.values.to(device, dtype)
            self.seen = self.seen.to(device)

    def state_dict(self) -> Dict[str, Optional[Tensor]]:
        """A copy of the entries; load with :meth:`load_state_dict`."""
        return {
            key: None if value is None else value.clone()
            for key, value in (('values', self.values), ('seen', self.seen))
        }

    def load_state_dict(self, state_dict: Dict[str, Optional[Tensor]]) -> None:
        """Restore the entries of :meth:`state_dict`."""
        self.values = state_dict['values']
        self.seen = state_dict['seen']
