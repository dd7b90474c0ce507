"""Detection dataset that mixes the images of another one."""
from typing import Mapping, Sequence

from mmdet.datasets import MultiImageMixDataset

from mwam_mm.registry import DATASETS

__all__ = ['MultiModalMixDataset']


@DATASETS.register_module()
class MultiModalMixDataset(MultiImageMixDataset):
    """:class:`MultiImageMixDataset` with a stock pipeline on stacked images.

    See :func:`multimodal_transforms` for what becomes of the transforms. They
    are skipped by their stock names, so that ``YOLOXModeSwitchHook`` works as
    before.

    Args:
        dataset (dict): Config of the dataset whose images are mixed, with
            :class:`LoadModalities` in its pipeline.
        pipeline (Sequence[dict]): The stock pipeline, ``Mosaic`` and all.
        modalities (Mapping): The layout, see :class:`ModalityLayout`.
        **kwargs: Further arguments of :class:`MultiImageMixDataset`.

    Raises:
        ValueError: If a transform has no counterpart for stacked images.

    Examples:
        >>> train_dataset = dict(
        ...     type='mwam_mm.MultiModalMixDataset',
        ...     modalities=modalities,
        ...     dataset=dict(
        ...         type='MyRGBTDataset',
        ...         pipeline=[dict(
        ...             type='mwam_mm.multimodal',
        ...             modalities=modalities,
        ...             transforms=_base_.train_dataset.dataset.pipeline)]),
        ...     pipeline=_base_.train_pipeline)  # doctest: +SKIP
    """

    def __init__(self, dataset: dict, pipeline: Sequence[dict],
                 modalities: Mapping, **kwargs) -> None:
        # Not at the top: the conversion needs the transforms of datasets.
        from mwam_mm.convert import multimodal_transforms
        super().__init__(dataset, multimodal_transforms(pipeline, modalities),
                         **kwargs)
        self.pipeline_types = [
            type_ if isinstance(type_, str) else type_.__name__
            for type_ in (cfg['type'] for cfg in pipeline)
        ]
