"""FRM -> bank -> K: the core shared by the hook and the neck."""
import math
import warnings
from functools import lru_cache
from types import ModuleType
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple, Union

import torch
import torch.distributed as dist
from torch import Tensor

from .allocation import check_range, sigmoid_weights
from .bank import FRMBank
from .dct import num_bands
from .frm import (
    check_arguments,
    check_input,
    frm_parts,
    is_compiling,
    loop_for,
    sum_dtype,
)

Presence = Union[None, Tensor, Sequence[bool]]
# Index of the modality, input of its branch, and which samples have it.
Image = Tuple[int, Tensor, Presence]

# The paper and the authors' code differ in these.
_PRESETS = dict(
    paper=dict(lam=6.0, gamma=0.7),
    reference=dict(lam=10.0, gamma=1.0))


@lru_cache(maxsize=None)
def kernels_for(device: torch.device) -> Optional[ModuleType]:
    """The module with the kernels of :class:`MWAM` for a device, if any."""
    if device.type != 'cuda' or loop_for('cuda') is None or \
            torch.cuda.get_device_capability(device) < (8, 0):
        return None
    from . import mwam_triton
    try:
        mwam_triton.try_out(device)
    except Exception as error:  # its kind depends on Triton's version
        warnings.warn('MWAM goes without its kernels and takes longer: '
                      f'{error}')
        return None
    return mwam_triton


class MWAM:
    """Weights K of the modalities from their inputs, batch after batch.

    Not a module: it has no parameters, and the model's ``state_dict`` is the
    same with and without it. Tensors stay on the inputs' device and nothing
    synchronises with the host. In distributed runs one all-reduce of 2M
    numbers a measured step makes FRM the mean over the global batch, so K is
    the same on every rank and independent of the split.

    On CUDA devices from Ampere on and with Triton, :meth:`update` launches
    two kernels: one measures all modalities, the other updates bank and
    weights. Everything else, such as the reference preset, ``bands``, images
    of several data types or of float64, goes through the operators of PyTorch.

    Args:
        modalities (Sequence[str]): The modalities' names, in the order of K.
        patch_size (int): Side p of the square patches, in pixels, whose
            frequencies FRM compares. Defaults to 8.
        block_size (int): Side q of the low and of the high band: how many of
            the p frequencies of each direction belong to it. Defaults to 2.
        sigma (float): What keeps two denominators from 0: that of FRM, in the
            units of the input, which so decides how much a patch without high
            frequencies counts, and the mean FRM of the modalities. Defaults
            to 1e-6.
        metric (str): What FRM is: ``'ratio'`` of low to high frequencies as
            in the paper, ``'robust'`` for data with holes or clipped values,
            or one of the ablations ``'low'``, ``'sum'`` and
            ``'weighted_sum'``, see :func:`frm`. Defaults to ``'ratio'``.
        flip (str): Which frequencies the ratio compares: ``'block'`` flips
            the high band inside each patch, ``'map'`` across the image.
            Defaults to ``'block'``.
        momentum (float): Share of the past in the smoothed FRM, from 0, only
            the current batch, to below 1. Defaults to 0.5.
        alpha (float): Upper end of K, which a modality gets that is not
            preferred at all. Defaults to 1.5.
        beta (float): Width of K's range: K lies between alpha - beta and
            alpha, so 0 <= beta <= alpha. Defaults to 1.0.
        lam (float, optional): How steeply K falls with the preference for the
            modality; 0 gives all of them alpha - beta / 2. Defaults to None,
            the preset's: 6 (paper) or 10 (reference).
        gamma (float, optional): Where K is in the middle of its range: FRM of
            the modality over the mean FRM of all. Defaults to None, the
            preset's: 0.7 (paper) or 1 (reference).
        preset (str): ``'paper'`` or ``'reference'``. The latter does as the
            authors' code where it differs: FRM is summed over batch and
            channels, T is the batch's FRM over the mean of the bank, the bank
            starts from 0 and a modality's weight is 1 on the step that first
            sees it. Defaults to ``'paper'``.
        interval (int): FRM is measured on the first of each ``interval``
            batches; the weights stay for the others. Defaults to 1, all.
        bands (bool): Whether FRM is also measured with each other band below
            the high one in the place of the low band, for the log: see
            :attr:`frm_of_bands`. K does not depend on it. Defaults to False.

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
                 interval: int = 1,
                 bands: bool = False) -> None:
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
        self._num_bands = num_bands(patch_size, block_size) if bands else 1
        if bands and self._num_bands == 1:
            raise ValueError(
                f'bands=True finds no band between the low {block_size} and '
                f'the high {block_size} of {patch_size} frequencies: take a '
                'smaller block_size')
        self.bands = FRMBank(
            momentum, warm_start=preset == 'paper') if bands else None
        self.weights = torch.ones(len(self.modalities))
        #: bool of shape (M,): whose FRM was ever not finite.
        self.abnormal = torch.zeros(len(self.modalities), dtype=torch.bool)
        self.interval = interval
        self._index = {name: i for i, name in enumerate(self.modalities)}
        self._batches = 0
        self._fused = None
        self._reset()

    def _reset(self) -> None:
        """Forget what :meth:`observe` saw."""
        device = self.weights.device
        # One tensor has the sums and counts of all bands, for a single
        # all-reduce.
        self._observed = torch.zeros(
            2,
            self._num_bands,
            len(self.modalities),
            dtype=sum_dtype(device),
            device=device)
        if self._fused is not None:
            self._fused.reset()

    @property
    def _metric(self) -> Dict[str, Any]:
        """What the numbers in the bank depend on."""
        return dict(self._frm, preset=self.preset)

    @property
    def _banks(self) -> Dict[str, FRMBank]:
        """What is known of the batches so far, by the key of the state."""
        banks = dict(bank=self.bank, bands=self.bands)
        return {key: bank for key, bank in banks.items() if bank is not None}

    @property
    def _due(self) -> bool:
        return self._batches % self.interval == 0

    def to(self, device: Union[str, torch.device]) -> 'MWAM':
        """Move to ``device``; :meth:`observe` does it by itself."""
        if self._fused is not None and self._fused.num_rows:
            self._fused.gather(*self._state())
        observed = self._observed
        self.weights = self.weights.to(device)
        device = self.weights.device
        self.abnormal = self.abnormal.to(device)
        for bank in self._banks.values():
            bank.to(device, sum_dtype(device))
        self._fused = None
        self._reset()
        self._observed += observed.to(device, sum_dtype(device))
        # The kernels measure the low band only.
        by_kernels = self.preset == 'paper' and self.bands is None
        kernels = kernels_for(device) if by_kernels else None
        if kernels is not None:
            self._fused = kernels.FusedUpdate(
                len(self.modalities), device, momentum=self.bank.momentum,
                **self._frm, **self._allocation)
        return self

    def _state(self) -> Tuple[Tensor, ...]:
        """What the kernels update in place."""
        if self.bank.values is None:
            self.bank.clear(self._observed[0, 0])
        return (self._observed, self.bank.values, self.bank.seen,
                self.abnormal)

    def __getstate__(self) -> Dict[str, Any]:
        # A machine that loads it may have no kernels.
        return dict(self.__dict__, _fused=None)

    def __setstate__(self, state: Dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.to(self.weights.device)

    def _check(self, modality: str, x: Tensor, present: Presence) -> None:
        if modality not in self._index:
            raise ValueError(f'unknown modality "{modality}": MWAM has '
                             f'{list(self.modalities)}')
        if present is not None and len(present) != len(x):
            raise ValueError(f'modality "{modality}": present is of '
                             f'{len(present)} samples, the batch of {len(x)}')
        check_input(x, self._frm['patch_size'], f'FRM of "{modality}"')

    def observe(self, images: Sequence[Tuple[str, Tensor, Presence]]) -> None:
        """Measure inputs of the batch, by one kernel where possible.

        They may be changed in place afterwards.

        Args:
            images (Sequence[tuple[str, Tensor, Presence]]): Each a modality,
                the input of its branch, of shape (B, C, H, W), and whether
                each of the B samples has the modality: best a sequence or a
                tensor on the CPU. With None a sample lacks it when its metric
                is exactly 0, as that of zeros is.

        Raises:
            ValueError: If a modality is unknown or its input smaller than one
                patch, or whether it is there is not of B samples.
            TypeError: If an input is not floating point.
        """
        for image in images:
            self._check(*image)
        if not self._due:
            return
        self._measure_all([(self._index[name], x, present)
                           for name, x, present in images])

    def _measure_all(self, images: List[Image]) -> None:
        if is_compiling():
            for image in images:
                self._observe_plain(*image)
            return
        for j, (i, x, present) in enumerate(images):
            if isinstance(present, Tensor) and present.device.type == 'cpu':
                images[j] = i, x, present.tolist()
        if images and images[0][1].device != self._observed.device:
            self.to(images[0][1].device)
        if images and self._fused is not None and self._fused.measure(images):
            return
        for image in images:
            if image[1].device != self._observed.device:
                self.to(image[1].device)
            if self._fused is None or not self._fused.measure([image]):
                self._observe_plain(*image)

    @torch.no_grad()
    def _observe_plain(self, i: int, x: Tensor, present: Presence) -> None:
        """Measure an image by operators of PyTorch."""
        known = present is not None
        if known and not isinstance(present, Tensor):
            if not any(present):
                return
            # From pinned memory the copy does not wait for the device.
            present = None if all(present) else torch.tensor(
                present,
                dtype=torch.bool,
                pin_memory=x.is_cuda and not is_compiling())
        for band in range(self._num_bands):
            parts = frm_parts(x, **self._frm, band=band)
            if not known and not band:
                # Only zeros give exactly 0, so the image is not read again.
                present = parts[0] != 0
            if present is not None:
                present = present.to(x.device, non_blocking=True)
                parts = torch.where(present, parts, 0.)
            self._observed[:, band, i] += parts.sum(1)

    def step(self) -> Tensor:
        """End the batch: update the bank and the weights.

        Every rank of a distributed run must call it, once per batch.

        Returns:
            Tensor: K of shape (M,), float32; 1 for a modality never seen.
            No later step changes this tensor.
        """
        due = self._due
        self._batches += 1
        if not due:
            return self.weights
        is_distributed = dist.is_available() and dist.is_initialized()
        if self._fused is None or is_compiling():
            if is_distributed:
                dist.all_reduce(self._observed)
            return self._step_plain()
        state = self._state()
        if is_distributed:
            self._fused.gather(*state)
            dist.all_reduce(self._observed)
        self.weights = torch.empty_like(self.weights)
        self._fused.step(*state, self.weights)
        return self.weights

    def _step_plain(self) -> Tensor:
        """Update the bank and the weights by operators of PyTorch."""
        if self.bands is not None:
            sums, counts = self._observed[:, 1:]
            self.bands.update(
                sums / counts if self.preset == 'paper' else sums,
                counts != 0)
        sums, counts = self._observed[:, 0]
        self._reset()
        valid = counts != 0  # NaN is a measurement, too
        self.abnormal = self.abnormal | (valid & ~torch.isfinite(sums))
        if self.preset == 'paper':
            bank = self.bank.update(sums / counts, valid)
            preference, known = bank, self.bank.seen
        else:
            known = torch.zeros_like(valid) if self.bank.seen is None \
                else self.bank.seen
            bank = self.bank.update(sums, valid)
            valid = valid & torch.isfinite(sums)
            preference = torch.where(valid, sums, bank)
        mean = bank.sum() / self.bank.seen.sum().clamp(min=1)
        t = preference / (mean + self.sigma)
        weights = sigmoid_weights(t, **self._allocation)
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
        present = present or {}
        self.observe([(modality, x, present.get(modality))
                      for modality, x in inputs.items()])
        return self.step()

    @property
    def frm(self) -> Tensor:
        """Tensor: The smoothed FRM, shape (M,), NaN where never seen."""
        if self.bank.values is None:
            return torch.full((len(self.modalities), ), float('nan'))
        return torch.where(self.bank.seen, self.bank.values, float('nan'))

    @property
    def frm_of_bands(self) -> Tensor:
        """Tensor: The smoothed FRM with each band in the place of the low
        one, the lowest of them first, shape (bands, M), NaN where never seen;
        (0, M) without ``bands``."""
        num_bands = self._num_bands - 1
        if self.bands is None or self.bands.values is None:
            return torch.full((num_bands, len(self.modalities)), float('nan'))
        return torch.where(self.bands.seen, self.bands.values, float('nan'))

    def state_dict(self) -> Dict[str, Any]:
        """What :meth:`load_state_dict` needs to go on exactly."""
        return dict(
            modalities=list(self.modalities),
            metric=self._metric,
            weights=self.weights,
            batches=self._batches,
            **{key: bank.state_dict()
               for key, bank in self._banks.items()})

    def load_state_dict(self, state_dict: Dict[str, Any]) -> None:
        """Restore :meth:`state_dict`, by the modalities' names.

        Raises:
            ValueError: If it is for other modalities, of another metric, or
                not of MWAM.
        """
        missing = sorted({'modalities', 'metric', 'bank', 'weights', 'batches'}
                         - set(state_dict))
        if missing:
            raise ValueError(
                f'the saved state has no {missing}, so another weigher than '
                'MWAM has saved it: resume with the same, or start with an '
                'empty bank by load_from instead of resume')
        saved = list(state_dict['modalities'])
        if set(saved) != set(self.modalities):
            raise ValueError(f'the saved MWAM state is for {saved}, but the '
                             f'modalities are {list(self.modalities)}')
        if state_dict['metric'] != self._metric:
            raise ValueError(
                f'the saved MWAM state is of {state_dict["metric"]}, but MWAM '
                f'has {self._metric}: resume with the same, or start with an '
                'empty bank by load_from instead of resume')
        device = self.weights.device
        order = [saved.index(name) for name in self.modalities]
        # The saved tensors may be on any device, and of a type that this one
        # lacks.
        for key, bank in self._banks.items():
            if key not in state_dict:  # only the log has the bands
                continue
            bank.load_state_dict({
                name: None if value is None else value[..., order]
                for name, value in state_dict[key].items()
            })
            bank.to(device, sum_dtype(device))
        self.weights = state_dict['weights'][order].to(device)
        self._batches = state_dict['batches']
        self._reset()
