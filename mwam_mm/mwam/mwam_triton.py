"""FRM, bank and K of a batch as two kernels for CUDA devices.

Importing this module imports Triton: do so where a device wants it only.
"""
from typing import Any, Dict, Optional, Sequence, Tuple

import torch
import triton
import triton.language as tl
from torch import Tensor, nn

from . import frm_triton
from .frm_triton import (
    FLAT,
    NUM_WARPS,
    dct_rows,
    grid,
    patch_sums,
    patches_per_program,
)

#: How many images one launch measures.
MAX_IMAGES = 5
# The kernels get which samples are absent as four integers of 31 bits: an
# argument needs no copy to the device, which would take longer.
_BITS = 31
# What the second kernel adds up at once: samples and partial sums of each.
_ROWS, _COLUMNS = 16, 256
# What one instruction can load begins at a multiple of so many bytes, as so
# many elements of any type do.
_ALIGNMENT = 16
_ALIGNED = 8
# What earlier versions of Triton compile is called without the constants, and
# for AMD it compiles for sizes as well.
_CAN_KEEP = torch.version.hip is None and tuple(
    map(int, triton.__version__.split('.')[:2])) >= (3, 2)
# Sizes for which the tables are kept.
_MAX_PLANS = 1024

# Compiled kernels by the alignment of what they are called with.
Kernels = Dict[Tuple[bool, ...], Any]
# Modality index, input, and whether each sample has the modality.
Image = Tuple[int, Tensor, Optional[Sequence[bool]]]


@triton.jit(do_not_specialize=[
    'first_partial', 'first_row', 'absent0', 'absent1', 'absent2', 'absent3'
])
def _measure_kernel(x0, x1, x2, x3, x4, table, rows, partials, codes,
                    first_partial, first_row, absent0, absent1, absent2,
                    absent3, sigma,
                    NUM_IMAGES: tl.constexpr, FIELDS: tl.constexpr,
                    UNIT: tl.constexpr, COLUMN_STRIDE: tl.constexpr,
                    METRIC: tl.constexpr, SIZE: tl.constexpr,
                    BLOCK: tl.constexpr, FLAT: tl.constexpr,
                    NUM_PATCHES: tl.constexpr, BITS: tl.constexpr):
    """Numerator and denominator of some patches of a sample of an image.

    A row is of one sample of one image. The rows of all images lie one after
    the other.

    Args:
        x0: Pointer to the first image, and so on; None if there are fewer.
        table: Pointer to the fields of each image, see :func:`_fields`.
        rows: Pointer to :func:`dct_rows`.
        partials: Pointer to the result, one pair for each program.
        codes: Pointer to what :func:`_finish_kernel` needs to know about each
            row: where its pairs begin, how many there are and the code, see
            :func:`_fields`, or -1 if the sample is absent.
        first_partial: Where the pairs of this launch begin.
        first_row: Where the rows of this launch begin.
        absent0: Bits of the first rows of this launch, and so on: whether
            the sample is absent.
        UNIT: What the strides in the table are multiples of.
        COLUMN_STRIDE: 1, or 0 if the table has it.
    """
    program = tl.program_id(0)
    image = program * 0
    x = x0
    if NUM_IMAGES > 1:
        later = program >= tl.load(table + FIELDS)
        x = tl.where(later, x1, x)
        image = tl.where(later, 1, image)
    if NUM_IMAGES > 2:
        later = program >= tl.load(table + 2 * FIELDS)
        x = tl.where(later, x2, x)
        image = tl.where(later, 2, image)
    if NUM_IMAGES > 3:
        later = program >= tl.load(table + 3 * FIELDS)
        x = tl.where(later, x3, x)
        image = tl.where(later, 3, image)
    if NUM_IMAGES > 4:
        later = program >= tl.load(table + 4 * FIELDS)
        x = tl.where(later, x4, x)
        image = tl.where(later, 4, image)
    table += image * FIELDS
    program -= tl.load(table).to(tl.int32)
    row = tl.load(table + 1).to(tl.int32)
    programs = tl.load(table + 2).to(tl.int32)
    num_patches = tl.load(table + 3).to(tl.int32)
    patches_per_channel = tl.load(table + 4).to(tl.int32)
    patches_per_row = tl.load(table + 5).to(tl.int32)
    code = tl.load(table + 6).to(tl.int32)
    # That they are multiples lets the compiler load several pixels at once.
    sample_stride = tl.load(table + 7) * UNIT
    channel_stride = tl.load(table + 8) * UNIT
    row_stride = tl.load(table + 9) * UNIT
    sample = program // programs
    program = program % programs
    row += sample
    word = row // BITS
    bits = tl.where(
        word == 0, absent0,
        tl.where(word == 1, absent1,
                 tl.where(word == 2, absent2,
                          tl.where(word == 3, absent3, 0))))
    absent = (bits >> (row % BITS)) & 1 == 1
    index = program * NUM_PATCHES + tl.arange(0, NUM_PATCHES)
    # What is too much repeats the last patch and does not count.
    counts = index < num_patches
    index = tl.minimum(index, num_patches - 1)
    numerator = tl.zeros([NUM_PATCHES], tl.float32)
    denominator = tl.zeros([NUM_PATCHES], tl.float32)
    if not absent:
        if COLUMN_STRIDE == 1:
            numerator, denominator = patch_sums(
                x, index, sample, rows, patches_per_channel, patches_per_row,
                sample_stride, channel_stride, row_stride, 1, sigma, METRIC,
                SIZE, BLOCK, FLAT, NUM_PATCHES)
        else:
            numerator, denominator = patch_sums(
                x, index, sample, rows, patches_per_channel, patches_per_row,
                sample_stride, channel_stride, row_stride,
                tl.load(table + 10), sigma, METRIC, SIZE, BLOCK, FLAT,
                NUM_PATCHES)
    # In a place of its own, so that the order of the sum is fixed.
    first_partial += tl.program_id(0)
    place = partials + first_partial.to(tl.int64) * 2
    tl.store(place, tl.sum(tl.where(counts, numerator, 0.), 0))
    tl.store(place + 1, tl.sum(tl.where(counts, denominator, 0.), 0))
    codes += (first_row + row) * 3
    is_first = program == 0
    tl.store(codes, first_partial, mask=is_first)
    tl.store(codes + 1, programs, mask=is_first)
    tl.store(codes + 2, tl.where(absent, -1, code), mask=is_first)


@triton.jit(do_not_specialize=['num_rows', 'max_programs'])
def _finish_kernel(partials, codes, num_rows, max_programs, observed,
                   constants, values, seen, abnormal, weights,
                   M: tl.constexpr, WIDTH: tl.constexpr, STEP: tl.constexpr,
                   ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Sum the partial sums; update bank and weights.

    Args:
        partials: Pointer to the result of :func:`_measure_kernel`.
        codes: Pointer to the result of :func:`_measure_kernel`.
        num_rows: How many rows these have.
        max_programs: The largest number of pairs of a row.
        observed: Pointer to sums and counts, shape (2, M), which the rows
            are added to; then it is used up, or kept if not STEP.
        constants: Pointer to momentum, alpha, beta, lam, gamma and sigma.
        values: Pointer to the bank, shape (M, ), which is updated.
        seen: Pointer to whether the bank has a value, as values.
        abnormal: Pointer to whether the FRM was ever not finite, as values.
        weights: Pointer to the new weights, shape (M, ).
        WIDTH: M or more, a power of 2.
        STEP: Whether the batch ends.
    """
    modality = tl.arange(0, WIDTH)
    inside = modality < M
    sums = tl.load(observed + modality, mask=inside, other=0.)
    counts = tl.load(observed + M + modality, mask=inside, other=0.)
    old = tl.load(values + modality, mask=inside, other=0.)
    known = tl.load(seen + modality, mask=inside, other=0) != 0
    bad = tl.load(abnormal + modality, mask=inside, other=0) != 0
    # Each thread has read before one of them writes to the same place.
    tl.debug_barrier()

    column = tl.arange(0, COLUMNS)
    for first in range(0, num_rows, ROWS):
        row = first + tl.arange(0, ROWS)
        there = row < num_rows
        start = tl.load(codes + row * 3, mask=there, other=0)
        programs = tl.load(codes + row * 3 + 1, mask=there, other=0)
        code = tl.load(codes + row * 3 + 2, mask=there, other=-1)
        judged = code % 2 == 0
        owner = tl.where(code < 0, -1, code // 2)
        numerator = tl.zeros([ROWS], tl.float64)
        denominator = tl.zeros([ROWS], tl.float64)
        for left in range(0, max_programs, COLUMNS):
            # A pair has a place below 2^31, its numbers perhaps not.
            place = start[:, None] + left + column[None, :]
            place = partials + place.to(tl.int64) * 2
            inner = left + column[None, :] < programs[:, None]
            above = tl.load(place, mask=inner, other=0.)
            below = tl.load(place + 1, mask=inner, other=0.)
            numerator += tl.sum(above.to(tl.float64), 1)
            denominator += tl.sum(below.to(tl.float64), 1)
        # Only zeros give exactly 0, so the image is not read again.
        denominator = tl.where(judged & (numerator == 0), 0., denominator)
        mine = owner[:, None] == modality[None, :]
        sums += tl.sum(tl.where(mine, numerator[:, None], 0.), 0)
        counts += tl.sum(tl.where(mine, denominator[:, None], 0.), 0)

    if STEP:
        momentum = tl.load(constants)
        alpha = tl.load(constants + 1)
        beta = tl.load(constants + 2)
        lam = tl.load(constants + 3)
        gamma = tl.load(constants + 4)
        sigma = tl.load(constants + 5)
        measured = counts != 0  # NaN is a measurement, too
        bad = bad | (measured & ~(tl.abs(sums) < float('inf')))
        frm = sums / counts
        valid = measured & (tl.abs(frm) < float('inf'))
        new = momentum * old + (1. - momentum) * frm
        new = tl.where(known, new, frm)
        bank = tl.where(valid, new, old)
        known = known | valid
        total = tl.sum(bank, 0)
        number = tl.sum(tl.where(known, 1., 0.), 0)
        t = bank / (total / tl.maximum(number, 1.) + sigma)
        k = alpha - beta / (1. + tl.exp(-lam * (t - gamma)))
        k = tl.where(known, k, 1.)
        tl.store(values + modality, bank, mask=inside)
        tl.store(seen + modality, known, mask=inside)
        tl.store(abnormal + modality, bad, mask=inside)
        tl.store(weights + modality, k.to(tl.float32), mask=inside)
        sums = tl.zeros_like(sums)
        counts = tl.zeros_like(counts)
    tl.store(observed + modality, sums, mask=inside)
    tl.store(observed + M + modality, counts, mask=inside)


def _fields(image: Image, first_program: int, first_row: int,
            patch_size: int, unit: int) -> Sequence[int]:
    """What the kernels need to know about an image besides its pointer.

    Returns:
        list[int]: Number of its first program and of its first row, programs
        per sample, patches per sample, channel and row of patches, the code,
        and the strides, all but that of the columns in units. The code is
        twice the index of the modality, plus 1 if it is known which samples
        have it.
    """
    i, x, present = image
    sample, channel, row, column = x.stride()
    return [
        first_program, first_row, *grid(x, patch_size),
        2 * i + (present is not None), sample // unit, channel // unit,
        row // unit, column
    ]


class _Plan:
    """How to launch for images of certain sizes and strides."""

    def __init__(self, images: Sequence[Image], patch_size: int,
                 device: torch.device) -> None:
        strides = [s for _, x, _ in images for s in x.stride()[:3]]
        unit = 1 if any(s % _ALIGNED for s in strides) else _ALIGNED
        fields, self.first_rows = [], []
        self.programs = self.rows = self.max_programs = 0
        for image in images:
            fields.append(
                _fields(image, self.programs, self.rows, patch_size, unit))
            self.first_rows.append(self.rows)
            programs = fields[-1][2]
            self.max_programs = max(self.max_programs, programs)
            self.programs += programs * len(image[1])
            self.rows += len(image[1])
        self.table = _to_device(fields, torch.int64, device)
        contiguous = all(x.stride(3) == 1 for _, x, _ in images)
        self.constants = (len(images), len(fields[0]), unit, int(contiguous))
        self.padding = [None] * (MAX_IMAGES - len(images))
        self.kernels: Kernels = {}


def _to_device(values: Sequence, dtype: torch.dtype,
               device: torch.device) -> Tensor:
    """A new tensor, without waiting for the device."""
    return torch.tensor(
        values, dtype=dtype, pin_memory=device.type == 'cuda').to(
            device, non_blocking=True)


class FusedUpdate:
    """Launches the kernels of one :class:`MWAM` on one device.

    Launching takes longer than the kernels do, so whatever follows from the
    images' sizes, strides and types is kept for the next batch, as are the
    buffers between the two kernels. Nothing waits for the device.

    Args:
        num_modalities (int): M.
        device (torch.device): Where the images are.
        patch_size (int): Side p of the patches.
        block_size (int): Side q of the bands.
        sigma (float): Added to the denominators.
        metric (str): See :func:`frm`.
        flip (str): See :func:`frm`; only ``'block'`` is measured here.
        momentum (float): w of Eq. 2.
        alpha (float): Upper end of K.
        beta (float): Width of K's range.
        lam (float): Steepness of Eq. 5.
        gamma (float): The T in the middle of K's range.
    """

    def __init__(self, num_modalities: int, device: torch.device,
                 patch_size: int, block_size: int, sigma: float, metric: str,
                 flip: str, momentum: float, alpha: float, beta: float,
                 lam: float, gamma: float) -> None:
        self.device = device
        self.patch_size = patch_size
        self.block_size = block_size
        self.sigma = sigma
        self.flip = flip
        self._metric = (metric, patch_size, block_size, FLAT,
                        patches_per_program(patch_size), _BITS)
        self._rows_of_dct = dct_rows(patch_size, block_size, device)
        self._constants = _to_device(
            [momentum, alpha, beta, lam, gamma, sigma], torch.float64,
            device)
        self._sizes = (num_modalities,
                       triton.next_power_of_2(num_modalities))
        # Tables are written on the stream of the batch that first needs them.
        # Later batches come after it, or the bank would be wrong as well.
        self._plans: Dict[tuple, Optional[_Plan]] = {}
        self._finishing: Tuple[Kernels, Kernels] = {}, {}
        self._room = (0, 0)
        self._partials = torch.empty((0, 2), device=device)
        self._codes = torch.empty((0, 3), dtype=torch.int32, device=device)
        self.reset()

    def reset(self) -> None:
        """Forget what was measured of the batch."""
        #: Samples of images that are measured.
        self.num_rows = 0
        self._num_partials = 0
        self._max_programs = 0

    def measure(self, images: Sequence[Image]) -> bool:
        """Measure images in one launch.

        They may be freed or overwritten afterwards, as after an operator.

        Returns:
            bool: False if nothing was done, because the kernel does not take
            such images.
        """
        key = tuple([(i, x.shape, x.stride(), x.dtype, x.get_device(),
                      type(x), type(present)) for i, x, present in images])
        plan = self._plans.get(key)
        if plan is None:
            if key not in self._plans:
                if len(self._plans) >= _MAX_PLANS:
                    self._plans.clear()
                if self._takes(images):
                    plan = _Plan(images, self.patch_size, self.device)
                self._plans[key] = plan
            if plan is None:
                return False
        absent = 0
        for (_, _, present), row in zip(images, plan.first_rows):
            if present is not None and not all(present):
                for i, is_present in enumerate(present, row):
                    if not is_present:
                        absent |= 1 << i
        if absent >> 4 * _BITS:
            return False
        num_rows = self.num_rows + plan.rows
        num_partials = self._num_partials + plan.programs
        if num_rows > self._room[0] or num_partials > self._room[1]:
            self._enlarge(num_rows, num_partials)
        mask = 2**_BITS - 1
        inputs = [x for _, x, _ in images]
        self._launch(
            _measure_kernel, plan.kernels, inputs, plan.programs, NUM_WARPS,
            *inputs, *plan.padding, plan.table,
            self._rows_of_dct, self._partials, self._codes,
            self._num_partials, self.num_rows, absent & mask,
            absent >> _BITS & mask, absent >> 2 * _BITS & mask,
            absent >> 3 * _BITS, self.sigma, *plan.constants, *self._metric)
        self.num_rows = num_rows
        self._num_partials = num_partials
        if plan.max_programs > self._max_programs:
            self._max_programs = plan.max_programs
        return True

    def gather(self, observed: Tensor, values: Tensor, seen: Tensor,
               abnormal: Tensor) -> None:
        """Add what was measured to sums and counts, shape (2, M)."""
        self._finish(observed, values, seen, abnormal, None, False)

    def step(self, observed: Tensor, values: Tensor, seen: Tensor,
             abnormal: Tensor, weights: Tensor) -> None:
        """End the batch.

        Args:
            observed (Tensor): Sums and counts, shape (2, M), float64, which
                what was measured is added to; 0 afterwards.
            values (Tensor): The bank, shape (M, ), float64, updated in place.
            seen (Tensor): bool, as ``values``.
            abnormal (Tensor): bool, as ``values``.
            weights (Tensor): Gets K, shape (M, ), float32.
        """
        self._finish(observed, values, seen, abnormal, weights, True)

    def _finish(self, observed: Tensor, values: Tensor, seen: Tensor,
                abnormal: Tensor, weights: Optional[Tensor],
                step: bool) -> None:
        self._launch(_finish_kernel, self._finishing[step],
                     (observed, values, seen, abnormal), 1, 8, self._partials,
                     self._codes, self.num_rows, self._max_programs, observed,
                     self._constants, values, seen, abnormal, weights,
                     *self._sizes, step, _ROWS, _COLUMNS)
        self.reset()

    def _takes(self, images: Sequence[Image]) -> bool:
        dtype = images[0][1].dtype
        return self.flip == 'block' and len(images) <= MAX_IMAGES and all(
            type(x) in (Tensor, nn.Parameter) and not isinstance(
                present, Tensor) and x.device == self.device
            and x.dtype == dtype and x.ndim == 4
            and min(x.shape[2:]) >= self.patch_size and x.size(1)
            and frm_triton.takes(x, self.patch_size, self.block_size)
            for _, x, present in images)

    def _enlarge(self, *num: int) -> None:
        """Room for more rows and pairs; those of the batch so far stay."""
        self._room = tuple(
            max(triton.next_power_of_2(n), room)
            for n, room in zip(num, self._room))
        for name, size in zip(('_codes', '_partials'), self._room):
            old = getattr(self, name)
            new = old.new_empty((size, old.size(1)))
            new[:len(old)] = old
            setattr(self, name, new)

    def _launch(self, kernel: Any, compiled: Kernels,
                tensors: Sequence[Tensor], programs: int, num_warps: int,
                *args) -> None:
        """Launch a kernel, which is found once.

        Triton would look at every argument anew, which takes longer than
        launching does. Of those that vary it compiles for the alignment of
        tensors only.

        Args:
            kernel (JITFunction): What to launch.
            compiled (dict): Gets it as compiled.
            tensors (Sequence[Tensor]): Those arguments of which the place in
                memory varies and is not ours.
            programs (int): How many.
            num_warps (int): Of a program.
            args: Of the kernel.
        """
        # Triton launches on the current device. Switching takes longer than
        # asking, and is seldom needed.
        index = self.device.index
        if index is not None and index != torch.cuda.current_device():
            with torch.cuda.device(index):
                self._launch(kernel, compiled, tensors, programs, num_warps,
                             *args)
            return
        alignment = tuple([x.data_ptr() % _ALIGNMENT == 0 for x in tensors])
        known = compiled.get(alignment)
        if known is not None:
            known[(programs, 1, 1)](*args)
            return
        known = kernel[(programs, )](
            *args,
            num_warps=num_warps,
            # Loads of the next round would need shared memory.
            num_stages=1,
            # Its default changes with Triton 3.10.
            enable_fp_fusion=True)
        if _CAN_KEEP:
            compiled[alignment] = known


def try_out(device: torch.device) -> None:
    """Raise whatever keeps the kernels from running on this machine.

    Images whose values are known: of patches of ones, the only coefficient
    is DC, which is 8.
    """
    update = FusedUpdate(2, device, 8, 2, 1e-6, 'sum', 'block', 0.5, 1.5, 1.,
                         6., 0.7)
    images = [(i, torch.full((2, 1, 16, 16), i + 1., device=device), None)
              for i in range(2)]
    observed = torch.zeros(2, 2, dtype=torch.float64, device=device)
    values, seen, weights = observed.new_zeros(2), torch.zeros(
        2, dtype=torch.bool, device=device), torch.zeros(2, device=device)
    abnormal = seen.clone()
    for _ in range(2):  # by Triton and by what it compiled
        if not update.measure(images):
            return
        update.step(observed, values, seen, abnormal, weights)
    if not torch.allclose(values.cpu(), values.new_tensor(
            [2., 4.], device='cpu'), rtol=1e-5):
        raise RuntimeError(f'FRM is {values.tolist()} instead of 2 and 4')
