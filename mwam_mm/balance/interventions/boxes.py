"""The boxes of dense detection heads, at the same locations."""
from typing import List

from torch import Tensor, nn

__all__ = ['boxes_of', 'gives_boxes', 'giou']

# Heads with these methods give what `bbox_coder` decodes as their second
# output, or the bins of it.
_PREDICTS = ('BaseDenseHead.predict_by_feat',
             'BaseDenseHead._predict_by_feat_single',
             'GFLHead._predict_by_feat_single')
# In training the second output of these heads is only a first guess.
_NOT = ('VFNetHead', )


def gives_boxes(head: nn.Module) -> bool:
    """Whether :func:`boxes_of` knows how a head codes its boxes.

    Args:
        head (nn.Module): A dense head of MMDetection.

    Returns:
        bool: Not for heads that predict in their own way, and not for VFNet.
    """
    names = {
        getattr(getattr(type(head), name, None), '__qualname__', '')
        for name in ('predict_by_feat', '_predict_by_feat_single')
    }
    coder = getattr(head, 'bbox_coder', None)
    return (names <= set(_PREDICTS)
            and getattr(coder, 'encode_size', 4) == 4
            and not {c.__name__ for c in type(head).__mro__} & set(_NOT))


def boxes_of(head: nn.Module, codes: List[Tensor]) -> List[Tensor]:
    """Decode what a dense head gives for its boxes.

    Heads that train in units of the stride are decoded in these units. That
    makes the boxes of a location larger or smaller alike, so that their
    overlap is the same.

    Args:
        head (nn.Module): The head, see :func:`gives_boxes`.
        codes (list[Tensor]): Its second output, of shape (B, A * 4, H, W) per
            level, or with bins, (B, A * 4 * bins, H, W).

    Returns:
        list[Tensor]: Corners of shape (B, H, W, A, 4) per level, float32.
    """
    from mmdet.structures.bbox import get_box_tensor
    levels = head.prior_generator.grid_priors([x.shape[2:] for x in codes],
                                              codes[0].dtype, codes[0].device)
    boxes = []
    for code, priors in zip(codes, levels):
        batch, _, height, width = code.shape
        code = code.float().permute(0, 2, 3, 1)
        priors = get_box_tensor(priors).float().repeat(batch, 1)
        # It gives bins of distances to the sides.
        if hasattr(head, 'integral'):
            code = head.integral(code)
            priors = head.anchor_center(priors)
        decoded = head.bbox_coder.decode(priors, code.reshape(-1, 4))
        boxes.append(
            get_box_tensor(decoded).view(batch, height, width, -1, 4))
    return boxes


def giou(a: Tensor, b: Tensor) -> Tensor:
    """Generalised intersection over union of boxes, in pairs.

    Args:
        a (Tensor): Corners, shape (..., 4).
        b (Tensor): Corners, shape (..., 4).

    Returns:
        Tensor: Shape (...), in [-1, 1].
    """
    from mmdet.structures.bbox import bbox_overlaps
    return bbox_overlaps(
        a.reshape(-1, 4), b.reshape(-1, 4), mode='giou',
        is_aligned=True).view(a.shape[:-1])
