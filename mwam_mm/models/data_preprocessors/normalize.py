"""Normalisation of stacked images, shared by segmentation and detection."""
from typing import Mapping, Sequence

import torch
from torch import Tensor, nn

from mwam_mm.layout import ModalityLayout


class StackNormalizer(nn.Module):
    """Normalise a stacked image per modality and blank the absent ones.

    Args:
        modalities (Mapping): The layout, see :class:`ModalityLayout`.
    """

    def __init__(self, modalities: Mapping) -> None:
        super().__init__()
        self.layout = ModalityLayout(modalities)
        order, mean, std = [], [], []
        for modality in self.layout.values():
            channels = list(range(self.layout.num_channels))[modality.slice]
            order += channels[::-1] if modality.bgr_to_rgb else channels
            mean += modality.mean
            std += modality.std
        self._reorder = order != sorted(order)
        # Not persistent: a model's weights must not depend on the layout's
        # statistics being loaded from a checkpoint.
        for name, values in (('order', torch.tensor(order)),
                             ('mean', torch.tensor(mean).view(-1, 1, 1)),
                             ('std', torch.tensor(std).view(-1, 1, 1))):
            self.register_buffer(name, values, persistent=False)

    def forward(self, image: Tensor, metainfo: Mapping) -> Tensor:
        """Normalise one image.

        Args:
            image (Tensor): Stacked image of shape (C, H, W), any real dtype.
            metainfo (Mapping): Meta information of the sample;
                ``absent_modalities`` names those to blank.

        Returns:
            Tensor: Float image of the same shape. The channels of absent
            modalities are exactly 0.

        Raises:
            ValueError: If the number of channels is not the layout's, or the
                metainfo names an unknown modality, or leaves none present.
        """
        where = f'sample {metainfo.get("img_path", "(no img_path)")}'
        if image.size(0) != self.layout.num_channels:
            raise ValueError(
                f'{where} has {image.size(0)} channels, but the layout '
                f'{self.layout} has {self.layout.num_channels}. A stock '
                'photometric transform on the stack drops channels: wrap it '
                'in mwam_mm.PhotometricTransforms')
        absent = self._absent(metainfo, where)
        if self._reorder:
            image = image[self.order]
        image = (image.float() - self.mean) / self.std
        for name in absent:
            image[self.layout[name].slice] = 0
        return image

    def _absent(self, metainfo: Mapping, where: str) -> Sequence[str]:
        if 'absent_modalities' not in metainfo:
            optional = [m.name for m in self.layout.values() if m.optional]
            if optional:
                raise ValueError(
                    f'{where}: the modalities {optional} are optional, but '
                    'the sample does not say which are absent. Add '
                    '"absent_modalities" to the meta_keys of PackSegInputs '
                    'or PackDetInputs')
            return ()
        absent = self.layout.check_names(
            metainfo['absent_modalities'], f'{where}: absent_modalities')
        if len(absent) == len(self.layout):
            raise ValueError(f'{where}: all modalities are absent')
        return absent


class StackPreprocessor:
    """What the data preprocessors of both kinds share.

    Mixed in before the stock class, which pads and stacks.
    """

    def __init__(self, modalities: Mapping, **kwargs) -> None:
        super().__init__(**kwargs)
        self.normalize = StackNormalizer(modalities)

    @property
    def layout(self) -> ModalityLayout:
        """ModalityLayout: The layout of the stacked images."""
        return self.normalize.layout

    def forward(self, data: dict, training: bool = False) -> dict:
        """Preprocess a batch.

        Args:
            data (dict): ``inputs``, the stacked images of shape (C, H, W),
                and ``data_samples``, as a dataloader collates them.
            training (bool): Whether the batch is for training. Defaults to
                False.

        Returns:
            dict: ``inputs`` of shape (B, C, H, W), float, and
            ``data_samples``.

        Raises:
            ValueError: As :class:`StackNormalizer`, and in evaluation if a
                sample has none of the modalities.
        """
        data = self.cast_data(data)
        metainfos = [
            sample.metainfo for sample in data.get('data_samples') or []
        ] or [{}] * len(data['inputs'])
        data['inputs'] = list(
            map(self.normalize, data['inputs'], metainfos))
        if not training:
            # The backbone may get parts of them, which may well be blank.
            for image, metainfo in zip(data['inputs'], metainfos):
                if not image.any():
                    raise ValueError(
                        f'sample {metainfo.get("img_path", "(no img_path)")} '
                        f'has none of the modalities {list(self.layout)}: all '
                        'its channels are 0 after normalisation')
        return super().forward(data, training)
