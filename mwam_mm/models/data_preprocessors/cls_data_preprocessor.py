"""Data preprocessor for multimodal classification."""
from typing import Mapping, Optional

from mmpretrain.models import ClsDataPreprocessor

from .normalize import StackPreprocessor

__all__ = ['MultiModalClsDataPreprocessor']


class MultiModalClsDataPreprocessor(StackPreprocessor, ClsDataPreprocessor):
    """Normalise per modality, blank absent modalities, pad, stack and mix.

    Everything after normalisation is that of
    :class:`mmpretrain.ClsDataPreprocessor`. Images are padded with 0, which is
    each modality's mean; a modality named in a sample's ``absent_modalities``
    is 0 everywhere.

    Mixup, CutMix and the like mix the stacked images. What is mixed of samples
    that lack different modalities lacks those that none of them has, which the
    mixture's zeros tell. Only then is a GPU waited for.

    Args:
        modalities (Mapping): The layout, see :class:`ModalityLayout`.
        pad_size_divisor (int): Divisor of the padded height and width.
            Defaults to 1.
        to_onehot (bool): Whether to make scores of the labels. Mixing does in
            any case. Defaults to False.
        num_classes (int, optional): Number of classes, which ``to_onehot``
            needs. Defaults to None.
        batch_augments (dict, optional): Mixing in training, ``augments`` and
            ``probs`` of :class:`mmpretrain.models.RandomBatchAugment`. Where
            it is not given, ``ImageClassifier`` takes its own ``train_cfg``.
            Defaults to None.

    Examples:
        .. code-block:: python

            model = dict(
                data_preprocessor=dict(
                    type='mwam_mm.MultiModalClsDataPreprocessor',
                    modalities=modalities,
                    num_classes=10,
                    batch_augments=dict(
                        augments=[dict(type='Mixup', alpha=0.8),
                                  dict(type='CutMix', alpha=1.0)])))
    """

    def __init__(self,
                 modalities: Mapping,
                 pad_size_divisor: int = 1,
                 to_onehot: bool = False,
                 num_classes: Optional[int] = None,
                 batch_augments: Optional[dict] = None) -> None:
        super().__init__(
            modalities,
            pad_size_divisor=pad_size_divisor,
            to_onehot=to_onehot,
            num_classes=num_classes,
            batch_augments=batch_augments)
