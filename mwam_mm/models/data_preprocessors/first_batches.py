"""A look at the first batches of a training."""
import logging
from typing import Sequence

import torch
from mmengine.logging import print_log
from torch import Tensor

from mwam_mm.layout import ModalityLayout
from mwam_mm.tolerance import MAX_MEAN, STD_RANGE, is_far

__all__ = ['FirstBatches']

_BATCHES = 5


class FirstBatches:
    """Warn once if ``mean`` and ``std`` are far from the images.

    The metric, and so K, depends on the scale of each modality: data of
    another unit train without an error, but with other weights.

    Pixels of exactly 0, which is where there is no measurement and where a
    modality is absent, do not count.

    Args:
        layout (ModalityLayout): The modalities.
    """

    def __init__(self, layout: ModalityLayout) -> None:
        self._layout = layout
        self._seen = 0
        self._sums = torch.zeros(3, layout.num_channels)

    def look(self, images: Sequence[Tensor]) -> None:
        """Take in a batch for training; all but the first few do not count.

        Args:
            images (Sequence[Tensor]): Normalised, each of shape (C, H, W).
        """
        if self._seen >= _BATCHES:
            return
        self._seen += 1
        for image in images:
            values = image.detach().float().flatten(1)
            # Added where they are, so that no device is waited for.
            self._sums = self._sums.to(image.device) + torch.stack(
                [(values != 0).sum(1), values.sum(1), (values**2).sum(1)])
        if self._seen == _BATCHES:
            self._compare()

    def _compare(self) -> None:
        count, total, squares = self._sums.cpu().double()
        means = total / count.clamp(min=1)
        stds = (squares / count.clamp(min=1) - means**2).clamp(min=0).sqrt()
        for name, modality in self._layout.items():
            mean, std = (x[modality.slice].tolist() for x in (means, stds))
            if is_far(mean, std):
                found = ', '.join(
                    f'{m:.3g} and {s:.3g}' for m, s in zip(mean, std))
                print_log(
                    f'modality {name!r}: mean={list(modality.mean)} and '
                    f'std={list(modality.std)} in `modalities` are of other '
                    f'data. Normalised by them, the first {_BATCHES} batches '
                    f'have mean and std {found}, beyond +-{MAX_MEAN} or '
                    f'outside {STD_RANGE[0]} to {STD_RANGE[1]}. The weights '
                    'K depend on them, too. '
                    'tools/analysis_tools/check_dataset.py prints those of '
                    'the data', 'current', logging.WARNING)
