"""The heads of a stock model for the classes of another dataset."""
from typing import Mapping, Optional

from mmengine.config import ConfigDict

from mwam_mm.config import type_name, walk_dicts

from .notice import notice

__all__ = ['main_num_classes', 'set_num_classes']


def set_num_classes(base: ConfigDict, num_classes: int) -> None:
    """Adapt the heads to the classes of another dataset.

    What a base says about single classes, which are not those of the dataset,
    is left out with a notice: weights in the loss, an ignored label, stuff.

    Args:
        base (ConfigDict): Config of the stock model, changed in place.
        num_classes (int): Number of classes of the dataset.

    Raises:
        ValueError: If no head of the base has classes.
    """
    heads = {
        key: value
        for key, value in base.items()
        if key not in ('backbone', 'neck', 'rpn_head', 'data_preprocessor')
    }
    _drop_stuff(base)
    old = main_num_classes(base)
    if old is None:
        return
    if 'head' in base:  # MMPretrain mixes labels there
        base.data_preprocessor.num_classes = num_classes
    for path, cfg in walk_dicts(heads, 'base'):
        topk = cfg.get('topk')
        if isinstance(topk, (list, tuple)):
            # MMPretrain refuses a rank beyond the classes.
            cfg['topk'] = tuple(k for k in topk if k <= num_classes)
        # STDC's head for boundaries has its own classes, and other numbers are
        # of something else.
        for key in ('num_classes', 'num_things_classes'):
            if cfg.get(key) == old and type_name(cfg) != 'STDCHead':
                cfg[key] = num_classes
                if cfg.get('out_channels') == 1 and num_classes != old:
                    # One sigmoid serves two classes only.
                    cfg.pop('out_channels')
        if isinstance(cfg.get('ignore_index'), int):
            ignored = cfg.pop('ignore_index')
            notice(f'{path}.ignore_index={ignored} left out: '
                   'it is about the classes of the base')
            # The padding is to stay ignored.
            if base.data_preprocessor.get('seg_pad_val') == ignored:
                base.data_preprocessor.pop('seg_pad_val')
        weight = cfg.get('class_weight')
        if not isinstance(weight, (list, tuple)):
            continue
        if len(weight) > old and len(set(weight[:-1])) == 1:
            # In DETR and its kin the last weight is that of "no object".
            cfg['class_weight'] = [weight[0]] * num_classes + [weight[-1]]
        else:
            cfg.pop('class_weight')
            notice(f'{path}.class_weight left out: it is about the classes '
                   'of the base')


def _drop_stuff(base: ConfigDict) -> None:
    """Leave out what a detector learns from label maps beside its boxes."""
    roi_head = base.get('roi_head') or {}
    if roi_head.get('semantic_head'):
        roi_head.semantic_head = None
        if 'semantic_roi_extractor' in roi_head:
            roi_head.semantic_roi_extractor = None
        notice('base.roi_head.semantic_head left out: it learns the label '
               'maps of the base')
    stuff = [cfg for _, cfg in walk_dicts(base, 'base')
             if cfg.get('num_stuff_classes')]
    for cfg in stuff:
        cfg['num_stuff_classes'] = 0
    if stuff:
        base.test_cfg.update(
            panoptic_on=False, semantic_on=False, instance_on=True)
        notice('the classes of stuff are left out: the model segments '
               'instances instead of panoptically')


def main_num_classes(base: Mapping) -> Optional[int]:
    """Number of classes of the model's main head.

    Args:
        base (Mapping): Config of the stock model.

    Returns:
        int | None: The number, None for a region proposal network, which has
        no classes.

    Raises:
        ValueError: If there is none.
    """
    keys = ('decode_head', 'roi_head', 'bbox_head', 'panoptic_head',
            'mask_head', 'head')
    for key in keys:
        head = base.get(key) or {}
        if key == 'decode_head' and isinstance(head, (list, tuple)):
            head = head[-1]
        for _, cfg in walk_dicts(head, key):
            for name in ('num_classes', 'num_things_classes'):
                if name in cfg:
                    return cfg[name]
    if base.get('rpn_head') and not base.get('roi_head'):
        return None
    raise ValueError('num_classes is given, but no num_classes is found in '
                     f'any of {list(keys)} of base')
