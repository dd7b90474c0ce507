"""FRM -> bank -> K: the core shared by the hook and the neck."""
import math
from typing import Any, Dict, Mapping, Optional, Sequence, Union

import torch
import torch.distributed as dist
from torch import Tensor

from .allocation import check_range, sigmoid_weights
from .bank import FRMBank
from .frm import check_arguments, frm_parts

Presence = Union[None, Tensor, Sequence[bool]]

# Where the paper and the authors' code differ.
_PRESETS = dict(
    paper=dict(lam=6.0, gamma=0.7),
    reference=dict(lam=10.0, gamma=1.0))


class MWAM:
    """Weights K of the modalities from their inputs, batch after batch.

    Not a module: it has no parameters, and the model's ``state_dict`` is the
    same with and without it. Tensors stay on the inputs' device and nothing
    synchronises with the host. In distributed runs one all-reduce of 2M
    numbers a measured step makes FRM the mean over the global batch, so K is
    the same on every rank and independent of the split.

    Args:
        modalities (Sequence[str]): The modalities' names, in the order of K.
        patch_size (int): p of :func:`frm`. Defaults to 8.
        block_size (int): q of :func:`frm`. Defaults to 2.
        sigma (float): Of :func:`frm` and :func:`allocate`. Defaults to 1e-6.
        metric (str): Of :func:`frm`. Defaults to ``'ratio'``.
        flip (str): Of :func:`frm`. Defaults to ``'block'``.
        momentum (float): w of :class:`FRMBank`. Defaults to 0.5.
        alpha (float): Of :func:`allocate`. Defaults to 1.5.
        beta (float): Of :func:`allocate`. Defaults to 1.0.
        lam (float, optional): Of :func:`allocate`. Defaults to None, the
            preset's: 6 (paper) or 10 (reference).
        gamma (float, optional): Of :func:`allocate`. Defaults to None, the
            preset's: 0.7 (paper) or 1 (reference).
        preset (str): ``'paper'`` or ``'reference'``. The latter does as the
            authors' code where it differs: FRM is summed over batch and
            channels, T is the batch's FRM over the mean of the bank, the bank
            starts from 0 and a modality's weight is 1 on the step that first
            sees it. Defaults to ``'paper'``.
        interval (int): FRM is measured on the first of each ``interval``
            batches; the weights stay for the others. Defaults to 1, all.

    Raises:
        ValueError: If ``modalities`` is empty or has duplicates, or an
            argument is out of range.

    Examples:
        >>> import torch
        >>> mwam = MWAM(['rgb', 'depth'])
        >>> k = mwam.update(dict(rgb=torch.rand(2, 3, 64, 64),
        ...                      depth=torch.rand(2, 1, 64, 64)))
        >>> k.shape
        torch.Size([2])
    """

    def __init__(self,
                 modalities: Sequence[str],
                 patch_size: int = 8,
                 block_size: int = 2,
                 sigma: float = 1e-6,
                 metric: str = 'ratio',
                 flip: str = 'block',
                 momentum: float = 0.5,
                 alpha: float = 1.5,
                 beta: float = 1.0,
                 lam: Optional[float] = None,
                 gamma: Optional[float] = None,
                 preset: str = 'paper',
                 interval: int = 1) -> None:
        self.modalities = tuple(modalities)
        if not self.modalities or len(set(
                self.modalities)) < len(self.modalities):
            raise ValueError('MWAM needs distinct modalities, but got '
                             f'{list(self.modalities)}')
        if preset not in _PRESETS:
            raise ValueError(f'preset must be one of {tuple(_PRESETS)}, but '
                             f'got {preset!r}')
        if preset == 'reference' and metric == 'robust':
            raise ValueError("preset='reference' sums the metric over the "
                             "batch, but metric='robust' is a ratio of sums")
        if not isinstance(interval, int) or interval < 1:
            raise ValueError('interval must be an integer, 1 or more, but got '
                             f'{interval!r}')
        check_arguments(patch_size, block_size, sigma, metric, flip)
        check_range(alpha, beta)
        constants = _PRESETS[preset]
        for key, value in (('lam', lam), ('gamma', gamma)):
            if value is not None and not math.isfinite(value):
                raise ValueError(f'{key} must be finite, but got {value}')
        self.preset = preset
        self.sigma = sigma
        self._frm = dict(
            patch_size=patch_size,
            block_size=block_size,
            sigma=sigma,
            metric=metric,
            flip=flip)
        self._allocation = dict(
            alpha=alpha,
            beta=beta,
            lam=constants['lam'] if lam is None else lam,
            gamma=constants['gamma'] if gamma is None else gamma)
        self.bank = FRMBank(momentum, warm_start=preset == 'paper')
        self.weights = torch.ones(len(self.modalities))
        #: bool of shape (M,): whose FRM was ever not finite.
        self.abnormal = torch.zeros(len(self.modalities), dtype=torch.bool)
        self.interval = interval
        self._batches = 0
        self._reset()

    def _reset(self) -> None:
        """Forget what :meth:`observe` saw."""
        # Two rows, sums and counts, so that one all-reduce carries both.
        # float64 makes the result independent of how a batch is split.
        self._observed = torch.zeros(
            2,
            len(self.modalities),
            dtype=torch.float64,
            device=self.weights.device)

    @property
    def _measure(self) -> Dict[str, Any]:
        """What the numbers in the bank depend on."""
        return dict(self._frm, preset=self.preset)

    @property
    def _due(self) -> bool:
        return self._batches % self.interval == 0

    def to(self, device: Union[str, torch.device]) -> 'MWAM':
        """Move to ``device``; :meth:`observe` does it by itself."""
        self.weights = self.weights.to(device)
        self._observed = self._observed.to(device)
        return self

    @torch.no_grad()
    def observe(self, modality: str, x: Tensor,
                present: Presence = None) -> None:
        """Take in one modality's input of the batch.

        Args:
            modality (str): Its name.
            x (Tensor): Input of its branch, shape (B, C, H, W).
            present (Tensor | Sequence[bool], optional): Whether each of the B
                samples has the modality. Defaults to None: a sample lacks it
                when its metric is exactly 0, as that of zeros is.

        Raises:
            ValueError: If the modality is unknown or smaller than one patch,
                or ``present`` is not of B samples.
        """
        if modality not in self.modalities:
            raise ValueError(f'unknown modality "{modality}": MWAM has '
                             f'{list(self.modalities)}')
        if present is not None and len(present) != len(x):
            raise ValueError(f'modality "{modality}": present is of '
                             f'{len(present)} samples, the batch of {len(x)}')
        if not self._due:
            return
        if x.device != self._observed.device:
            self.to(x.device)
        known = not (present is None or isinstance(present, Tensor))
        if known and not any(present):
            return
        sums, counts = parts = frm_parts(x, **self._frm)
        if known and not all(present):
            # Slices, because indexing with a list waits for the device.
            sums, counts = torch.stack(
                [parts[:, i] for i, p in enumerate(present) if p], 1)
        elif present is None:
            # Only zeros give exactly 0, so the image is not read again.
            counts = torch.where(sums != 0, counts, 0.)
        elif not known:
            sums, counts = torch.where(present.to(x.device), parts, 0.)
        i = self.modalities.index(modality)
        self._observed[0, i] += sums.sum()
        self._observed[1, i] += counts.sum()

    @torch.no_grad()
    def step(self) -> Tensor:
        """End the batch: update the bank and the weights.

        Every rank of a distributed run must call it, once per batch.

        Returns:
            Tensor: K of shape (M,), float32; 1 for a modality never seen.
        """
        due = self._due
        self._batches += 1
        if not due:
            return self.weights
        observed = self._observed
        if dist.is_available() and dist.is_initialized():
            dist.all_reduce(observed)
        sums, counts = observed
        self.abnormal = self.abnormal.to(sums.device) | (
            (counts > 0) & ~torch.isfinite(sums))
        self._reset()
        valid = counts > 0
        if self.preset == 'paper':
            frm = sums / counts
            preference = self.bank.update(frm, valid)
            known = self.bank.seen
        else:
            known = torch.zeros_like(valid) if self.bank.seen is None \
                else self.bank.seen.to(valid.device)
            bank = self.bank.update(sums, valid)
            valid = valid & torch.isfinite(sums)
            preference = torch.where(valid, sums, bank)
        bank, seen = self.bank.values, self.bank.seen
        mean = bank.sum() / seen.sum().clamp(min=1)
        weights = sigmoid_weights(
            preference / (mean + self.sigma), **self._allocation)
        self.weights = torch.where(known, weights, 1.).float()
        return self.weights

    def update(self,
               inputs: Mapping[str, Tensor],
               present: Optional[Mapping[str, Presence]] = None) -> Tensor:
        """:meth:`observe` every modality of a batch, then :meth:`step`.

        Args:
            inputs (Mapping[str, Tensor]): Modality to input (B, C, H, W).
            present (Mapping[str, Presence], optional): Modality to whether
                each sample has it. Defaults to None, see :meth:`observe`.

        Returns:
            Tensor: K of shape (M,).
        """
        for modality, x in inputs.items():
            self.observe(modality, x, (present or {}).get(modality))
        return self.step()

    @property
    def frm(self) -> Tensor:
        """Tensor: The smoothed FRM, shape (M,), NaN where never seen."""
        if self.bank.values is None:
            return torch.full((len(self.modalities), ), float('nan'))
        return torch.where(self.bank.seen, self.bank.values, float('nan'))

    def state_dict(self) -> Dict[str, Any]:
        """What :meth:`load_state_dict` needs to go on exactly."""
        return dict(
            modalities=list(self.modalities),
            metric=self._measure,
            bank=self.bank.state_dict(),
            weights=self.weights,
            batches=self._batches)

    def load_state_dict(self, state_dict: Dict[str, Any]) -> None:
        """Restore :meth:`state_dict`, by the modalities' names.

        Raises:
            ValueError: If it is for other modalities, or of another metric.
        """
        saved = list(state_dict['modalities'])
        if set(saved) != set(self.modalities):
            raise ValueError(f'the saved MWAM state is for {saved}, but the '
                             f'modalities are {list(self.modalities)}')
        if state_dict['metric'] != self._measure:
            raise ValueError(
                f'the saved MWAM state is of {state_dict["metric"]}, but MWAM '
                f'has {self._measure}: resume with the same, or start with an '
                'empty bank by load_from instead of resume')
        order = [saved.index(name) for name in self.modalities]
        self.bank.load_state_dict({
            key: None if value is None else value[order]
            for key, value in state_dict['bank'].items()
        })
        self.weights = state_dict['weights'][order]
        self._batches = state_dict['batches']
        self._reset()
