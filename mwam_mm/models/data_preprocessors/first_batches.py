"""A look at the first batches of a training, or images of a prediction."""
import logging
from typing import Optional, Sequence

import torch
from mmengine.logging import print_log
from torch import Tensor

from mwam_mm.layout import ModalityLayout
from mwam_mm.tolerance import MAX_MEAN, STD_RANGE, is_far

__all__ = ['FirstBatches']


class FirstBatches:
    """Warn once if ``mean`` and ``std`` are far from the images.

    The metric, and so K, depends on the scale of each modality: data of
    another unit train without an error, but with other weights.

    Pixels of exactly 0, which is where there is no measurement and where a
    modality is absent, do not count.

    Args:
        layout (ModalityLayout): The modalities.
        batches (int): How many batches to look at. Defaults to 5.
    """

    def __init__(self, layout: ModalityLayout, batches: int = 5) -> None:
        self._layout = layout
        self._batches = batches
        self._seen = 0
        self._sums = torch.zeros(3, layout.num_channels)
        # Deviations are taken from about the mean. The squares of values that
        # differ little from each other would lose all digits in float32.
        self._shift: Optional[Tensor] = None

    def look(self, images: Sequence[Tensor]) -> None:
        """Take in a batch; all but the first few do not count.

        Args:
            images (Sequence[Tensor]): Normalised, each of shape (C, H, W).
        """
        if self._seen >= self._batches:
            return
        self._seen += 1
        for image in images:
            values = image.detach().float().flatten(1)
            counts = values != 0
            if self._shift is None:
                self._shift = values.sum(1, keepdim=True) / counts.sum(
                    1, keepdim=True).clamp(min=1)
            values = (values - self._shift) * counts
            # The sums stay where the images are, so that no device is waited
            # for.
            self._sums = self._sums.to(image.device) + torch.stack(
                [counts.sum(1), values.sum(1), (values**2).sum(1)])
        if self._seen == self._batches:
            self._compare()

    def _compare(self) -> None:
        count, total, squares = self._sums.cpu().double()
        means = total / count.clamp(min=1)
        stds = (squares / count.clamp(min=1) - means**2).clamp(min=0).sqrt()
        means += self._shift.flatten().cpu() * (count > 0)
        for name, modality in self._layout.items():
            mean, std = (x[modality.slice].tolist() for x in (means, stds))
            if is_far(mean, std):
                seen = f'{self._batches} batches' if (
                    self._batches > 1) else 'batch'
                found = ', '.join(
                    f'{m:.3g} and {s:.3g}' for m, s in zip(mean, std))
                print_log(
                    f'modality {name!r}: mean={list(modality.mean)} and '
                    f'std={list(modality.std)} in `modalities` are of other '
                    f'data. Normalised by them, the first {seen} '
                    f'had mean and std {found}, beyond +-{MAX_MEAN} or '
                    f'outside {STD_RANGE[0]} to {STD_RANGE[1]}. Predictions '
                    'and the weights K depend on them. '
                    'tools/analysis_tools/check_dataset.py prints those of '
                    'the data', 'current', logging.WARNING)
