"""Data preprocessor for multimodal segmentation."""
from typing import List, Mapping, Optional

from mmseg.models.data_preprocessor import SegDataPreProcessor

from mwam_mm.registry import MODELS

from .normalize import StackPreprocessor


@MODELS.register_module()
class MultiModalSegDataPreprocessor(StackPreprocessor, SegDataPreProcessor):
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
            modalities,
            size=size,
            size_divisor=size_divisor,
            seg_pad_val=seg_pad_val,
            batch_augments=batch_augments,
            test_cfg=test_cfg)
