"""Data preprocessor for multimodal segmentation."""
from typing import Any, Dict, List, Mapping, Optional

from mmseg.models.data_preprocessor import SegDataPreProcessor

from mwam_mm.layout import ModalityLayout
from mwam_mm.registry import MODELS

from .normalize import StackNormalizer


@MODELS.register_module()
class MultiModalSegDataPreprocessor(SegDataPreProcessor):
    """Normalise per modality, blank absent modalities, pad and stack.

    Everything after normalisation is :class:`mmseg.SegDataPreProcessor`'s.
    Images are padded with 0, which is each modality's mean; a modality named
    in a sample's ``absent_modalities`` is 0 everywhere.

    Args:
        modalities (Mapping): The layout, see :class:`ModalityLayout`.
        size (tuple, optional): Fixed padding size (height, width). Defaults
            to None.
        size_divisor (int, optional): Divisor of the padded size. Defaults to
            None.
        seg_pad_val (float): Padding value of the label map. Defaults to 255.
        batch_augments (list[dict], optional): Batch-level augmentations.
            Defaults to None.
        test_cfg (dict, optional): Padding at test time, with ``size`` or
            ``size_divisor``. Defaults to None.

    Examples:
        .. code-block:: python

            model = dict(
                data_preprocessor=dict(
                    _delete_=True,
                    type='mwam_mm.MultiModalSegDataPreprocessor',
                    modalities=modalities,
                    size=(512, 512)))
    """

    def __init__(self,
                 modalities: Mapping,
                 size: Optional[tuple] = None,
                 size_divisor: Optional[int] = None,
                 seg_pad_val: float = 255,
                 batch_augments: Optional[List[dict]] = None,
                 test_cfg: Optional[dict] = None) -> None:
        super().__init__(
            size=size,
            size_divisor=size_divisor,
            seg_pad_val=seg_pad_val,
            batch_augments=batch_augments,
            test_cfg=test_cfg)
        self.normalize = StackNormalizer(modalities)

    @property
    def layout(self) -> ModalityLayout:
        """ModalityLayout: The layout of the stacked images."""
        return self.normalize.layout

    def forward(self, data: dict, training: bool = False) -> Dict[str, Any]:
        """Preprocess a batch.

        Args:
            data (dict): ``inputs``, the stacked images of shape (C, H, W),
                and ``data_samples``, as a dataloader collates them.
            training (bool): Whether the batch is for training. Defaults to
                False.

        Returns:
            dict: ``inputs`` of shape (B, C, H, W), float, and
            ``data_samples``.
        """
        data = self.cast_data(data)
        samples = data.get('data_samples') or [None] * len(data['inputs'])
        data['inputs'] = [
            self.normalize(image, {} if sample is None else sample.metainfo)
            for image, sample in zip(data['inputs'], samples)
        ]
        return super().forward(data, training)
