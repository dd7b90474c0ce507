"""Data preprocessors for stacked images."""
from mwam_mm.registry import MODELS
from mwam_mm.stack import check_stack, has_detection, has_segmentation

__all__ = []


@MODELS.register_module(name='MultiModalClsDataPreprocessor')
def _build_cls_data_preprocessor(**kwargs):
    """Build it. Importing mmpretrain takes seconds and waits until then."""
    check_stack('mmpretrain')
    from .cls_data_preprocessor import MultiModalClsDataPreprocessor
    return MultiModalClsDataPreprocessor(**kwargs)


if has_segmentation():
    from .seg_data_preprocessor import MultiModalSegDataPreprocessor

    __all__ += ['MultiModalSegDataPreprocessor']

if has_detection():
    from .det_data_preprocessor import MultiModalDetDataPreprocessor

    __all__ += ['MultiModalDetDataPreprocessor']
