"""Data preprocessor for multimodal detection."""
from typing import List, Mapping, Optional

from mmdet.models.data_preprocessors import DetDataPreprocessor

from mwam_mm.registry import MODELS

from .normalize import StackPreprocessor


@MODELS.register_module()
class MultiModalDetDataPreprocessor(StackPreprocessor, DetDataPreprocessor):
    """Normalise per modality, blank absent modalities, pad and stack.

    Everything after normalisation is :class:`mmdet.DetDataPreprocessor`'s.
    Images are padded with 0, which is each modality's mean; a modality named
    in a sample's ``absent_modalities`` is 0 everywhere.

    Batch-level augmentations of one's own may mix samples or put them in
    another order. What each then lacks its zeros tell. Only then is a GPU
    waited for.

    Args:
        modalities (Mapping): The layout, see :class:`ModalityLayout`.
        pad_size_divisor (int): Divisor of the padded height and width.
            Defaults to 1.
        pad_mask (bool): Whether to pad instance masks. Defaults to False.
        mask_pad_value (int): Padding value of instance masks. Defaults to 0.
        pad_seg (bool): Whether to pad label maps. Defaults to False.
        seg_pad_value (int): Padding value of label maps. Defaults to 255.
        boxtype2tensor (bool): Whether to turn boxes into tensors. Defaults to
            True.
        batch_augments (list[dict], optional): Batch-level augmentations.
            Defaults to None.

    Examples:
        .. code-block:: python

            model = dict(
                data_preprocessor=dict(
                    _delete_=True,
                    type='mwam_mm.MultiModalDetDataPreprocessor',
                    modalities=modalities,
                    pad_size_divisor=32))
    """

    def __init__(self,
                 modalities: Mapping,
                 pad_size_divisor: int = 1,
                 pad_mask: bool = False,
                 mask_pad_value: int = 0,
                 pad_seg: bool = False,
                 seg_pad_value: int = 255,
                 boxtype2tensor: bool = True,
                 batch_augments: Optional[List[dict]] = None) -> None:
        super().__init__(
            modalities,
            pad_size_divisor=pad_size_divisor,
            pad_mask=pad_mask,
            mask_pad_value=mask_pad_value,
            pad_seg=pad_seg,
            seg_pad_value=seg_pad_value,
            boxtype2tensor=boxtype2tensor,
            batch_augments=batch_augments)

    def mixes(self, training: bool) -> bool:
        """Whether a batch may be mixed, so that its zeros tell what is absent:
        those of MMDetection resize and pad only."""
        return training and not all(
            type(augment).__module__.startswith('mmdet.')
            for augment in self.batch_augments or ())
