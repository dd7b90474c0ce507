"""Normalisation of stacked images, shared by all tasks."""
from typing import Mapping, Sequence, Tuple

import torch
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from mwam_mm.layout import ModalityLayout, with_presence

from .first_batches import FirstBatches


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
        # They are not persistent: loading a checkpoint must not change the
        # layout's statistics.
        for name, values in (('order', torch.tensor(order)),
                             ('mean', torch.tensor(mean).view(-1, 1, 1)),
                             ('std', torch.tensor(std).view(-1, 1, 1))):
            self.register_buffer(name, values, persistent=False)

    def forward(self, image: Tensor, absent: Sequence[str]) -> Tensor:
        """Normalise one image.

        Args:
            image (Tensor): Stacked image of shape (C, H, W), any real dtype.
            absent (Sequence[str]): The modalities to blank.

        Returns:
            Tensor: Float image of the same shape. The channels of absent
            modalities are exactly 0.
        """
        if self._reorder:
            image = image[self.order]
        image = (image.float() - self.mean) / self.std
        for name in absent:
            image[self.layout[name].slice] = 0
        return image

    def absent(self,
               image: Tensor,
               metainfo: Mapping,
               training: bool = False) -> Tuple[str, ...]:
        """The modalities that a sample lacks.

        They are those that ``absent_modalities`` names and those of which the
        image holds no measurement (:meth:`Modality.is_blank`). Where this
        leaves nothing of a training sample, what :class:`RandomDropModality`
        dropped of it does count: the draw could not know that the rest is
        blank.

        Args:
            image (Tensor): Stacked image of shape (C, H, W), not yet
                normalised and still on the CPU, so that no device is waited
                for.
            metainfo (Mapping): Meta information of the sample.
            training (bool): Whether it is for training. Defaults to False.

        Returns:
            tuple[str]: Their names; all of them if the image is wholly blank.

        Raises:
            ValueError: If the number of channels is not the layout's, or the
                metainfo names an unknown modality, or leaves none present.
        """
        where = f'sample {metainfo.get("img_path", "(no img_path)")}'
        if image.size(0) != self.layout.num_channels:
            raise ValueError(
                f'{where} has {image.size(0)} channels, but the layout '
                f'{self.layout} has {self.layout.num_channels}. Either its '
                'pipeline (train, test or tta_pipeline) does not load by '
                'mwam_mm.LoadModalities, or a stock photometric transform '
                'drops channels of the stack: wrap that in '
                'mwam_mm.PhotometricTransforms. Outside a dataset, '
                'mwam_mm.apis.MultiModalInferencer takes files by modality, '
                'which mmseg.apis.inference_model cannot')
        named = self._named_absent(metainfo, where)
        absent = tuple(name for name, modality in self.layout.items()
                       if name in named or modality.is_blank(image))
        if not training or len(absent) < len(self.layout):
            return absent
        dropped = metainfo.get('dropped_modalities', ())
        return tuple(
            name for name in absent
            if name not in dropped or self.layout[name].is_blank(image))

    def _named_absent(self, metainfo: Mapping, where: str) -> Sequence[str]:
        if 'absent_modalities' not in metainfo:
            optional = [m.name for m in self.layout.values() if m.optional]
            if optional:
                raise ValueError(
                    f'{where}: the modalities {optional} are optional, but '
                    'the sample does not say which are absent. Add '
                    '"absent_modalities" to the meta_keys of PackSegInputs, '
                    'PackDetInputs or PackInputs')
            return ()
        absent = self.layout.check_names(
            metainfo['absent_modalities'], f'{where}: absent_modalities')
        if len(absent) == len(self.layout):
            raise ValueError(f'{where}: all modalities are absent')
        return absent


def _with_absent(sample: BaseDataElement,
                 absent: Sequence[str]) -> BaseDataElement:
    """Let a sample no longer name modalities absent that it has after all."""
    named = sample.metainfo.get('absent_modalities', ())
    if set(named) <= set(absent):
        return sample
    # A copy, because the dataset may hold the sample.
    return sample.new(
        metainfo=dict(
            sample.metainfo,
            absent_modalities=tuple(absent),
            dropped_modalities=tuple(
                name for name in sample.metainfo.get('dropped_modalities', ())
                if name in absent)))


class StackPreprocessor:
    """What the data preprocessors of all kinds share.

    Mixed in before the stock class, which pads and stacks.
    """

    def __init__(self, modalities: Mapping, **kwargs) -> None:
        super().__init__(**kwargs)
        self.normalize = StackNormalizer(modalities)
        self._first_batches = FirstBatches(self.layout)

    @property
    def layout(self) -> ModalityLayout:
        """ModalityLayout: The layout of the stacked images."""
        return self.normalize.layout

    def mixes(self, training: bool) -> bool:
        """Whether a batch is mixed, so that its zeros tell what is absent."""
        return training and self.batch_augments is not None

    def forward(self, data: dict, training: bool = False) -> dict:
        """Preprocess a batch.

        Which modalities each sample has is settled before the images travel
        to the device, and carried along by the resulting tensor, see
        :meth:`ModalityLayout.presence`. Where there are no data samples, it is
        judged by the zeros.

        From the first batches for training it warns once of a ``mean`` and
        ``std`` that are of other data.

        Args:
            data (dict): ``inputs``, the stacked images of shape (C, H, W),
                and ``data_samples``, as a dataloader collates them.
            training (bool): Whether the batch is for training. Defaults to
                False.

        Returns:
            dict: ``inputs`` of shape (B, C, H, W), float, and
            ``data_samples``.

        Raises:
            ValueError: As :meth:`StackNormalizer.absent`, and in evaluation
                if a sample has none of the modalities.
        """
        samples = data.get('data_samples') or []
        metainfos = [s.metainfo for s in samples] or [{}] * len(data['inputs'])
        absent = [
            self.normalize.absent(image, metainfo, training)
            for image, metainfo in zip(data['inputs'], metainfos)
        ]
        if samples:
            data = dict(
                data, data_samples=list(map(_with_absent, samples, absent)))
        data = self.cast_data(data)
        data['inputs'] = list(map(self.normalize, data['inputs'], absent))
        if training:
            self._first_batches.look(data['inputs'])
        data = super().forward(data, training)
        if samples and not self.mixes(training):
            presence = {
                name: [name not in names for names in absent]
                for name in self.layout
            }
        else:
            presence = self.layout.presence(data['inputs'])
        if samples and self.mixes(training):
            lacking = [[n for n, f in presence.items() if not f[i]]
                       for i in range(len(samples))]
            data['data_samples'] = list(
                map(_with_absent, data['data_samples'], lacking))
        if not training:
            # The backbone may get parts of them, which may well be blank.
            for metainfo, *flags in zip(metainfos, *presence.values()):
                if not any(flags):
                    raise ValueError(
                        f'sample {metainfo.get("img_path", "(no img_path)")} '
                        f'has none of the modalities {list(self.layout)}: all '
                        'its channels are 0 after normalisation')
        with_presence(data['inputs'], presence)
        return data
