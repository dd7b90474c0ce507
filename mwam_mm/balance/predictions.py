"""What the model makes of some of the modalities, and how it is labelled."""
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

import torch
from mmengine.dist import get_world_size
from torch import Tensor
from torch.nn.functional import interpolate

from mwam_mm.models.subsets import rows_with

from .signal import Signal

__all__ = [
    'Labelled', 'gives_logits_of_labels', 'has_labels', 'head_of', 'labelled',
    'log_probabilities', 'logits_of', 'loss_of', 'sum_losses'
]


class Labelled(NamedTuple):
    """Predictions at the pixels of the labels.

    The label of a whole image is a map of one pixel.

    Args:
        log_p (Tensor): Logarithm of the predicted probability of the label,
            shape (N, H, W), float32.
        labels (Tensor): The labels, shape (N, H, W), 0 where ignored.
        valid (Tensor): Whether the pixel is not ignored, shape (N, H, W).
    """
    log_p: Tensor
    labels: Tensor
    valid: Tensor


def labelled(signal: Signal, rows: List[int], logits: Tensor) -> Labelled:
    """Compare logits of some samples to their labels.

    Args:
        signal (Signal): The forward.
        rows (list[int]): Which N of the B samples.
        logits (Tensor): Shape (N, C, h, w), resized to the labels', or
            (N, C) for labels of whole images.

    Returns:
        Labelled: At each pixel of the labels.
    """
    head = head_of(signal)
    samples = signal.arguments['data_samples']
    if logits.ndim == 2:
        logits = logits[:, :, None, None]
        labels = torch.stack([samples[i].gt_label for i in rows])[..., None]
        valid = torch.ones_like(labels, dtype=torch.bool)
    else:
        labels = torch.stack([samples[i].gt_sem_seg.data[0] for i in rows])
        valid = labels != getattr(head, 'ignore_index', 255)
    labels = labels.long().where(valid, torch.zeros_like(labels).long())
    logits = interpolate(
        logits.float(),
        labels.shape[1:],
        mode='bilinear',
        align_corners=getattr(head, 'align_corners', False))
    log_p = log_probabilities(logits).gather(1, labels[:, None])[:, 0]
    return Labelled(log_p, labels, valid)


def log_probabilities(logits: Tensor) -> Tensor:
    """Logarithm of the probabilities of the classes.

    Args:
        logits (Tensor): Shape (N, C, ...). With C = 1 that of the second of
            two classes.

    Returns:
        Tensor: Shape (N, max(C, 2), ...), float32.
    """
    logits = logits.float()
    if logits.size(1) == 1:
        logits = torch.cat([-logits, logits], 1)
        return torch.nn.functional.logsigmoid(logits)
    return logits.log_softmax(1)


def has_labels(signal: Signal) -> bool:
    """Whether the forward is one for losses."""
    return bool(signal.arguments.get('data_samples')) and \
        signal.arguments.get('mode', 'loss') == 'loss'


def gives_logits_of_labels(signal: Signal) -> bool:
    """Whether the model gives one map of logits for labels of pixels, or one
    vector for the one label of each image.

    Labels that were mixed with those of other images are not one.
    """
    samples = signal.arguments.get('data_samples') or []
    head = head_of(signal)
    for ndim, key, attribute in ((4, 'gt_sem_seg', 'out_channels'),
                                 (2, 'gt_label', 'num_classes')):
        channels = getattr(head, attribute, None)
        if channels is None or not all(hasattr(s, key) for s in samples):
            continue
        if ndim == 2 and any(
                'gt_score' in s or len(s.gt_label) != 1 for s in samples):
            continue
        _, logits = signal.logits(*signal.modalities)
        return isinstance(logits, Tensor) and logits.ndim == ndim and \
            logits.size(1) == channels
    return False


def logits_of(signal: Signal, *subset: str) -> Tuple[List[int], Any]:
    """:meth:`Signal.logits`, run equally often on every rank.

    The heads may communicate with the other ranks, whose samples may have
    what this one's lack.
    """
    rows, logits = signal.logits(*subset)
    if not rows and get_world_size() > 1:
        signal.logits(*signal.modalities)
    return rows, logits


def loss_of(signal: Signal,
            *subset: str,
            key: str = 'loss') -> Tuple[List[int], Optional[Tensor]]:
    """The model's loss from some modalities, run equally often on every rank.

    Args:
        signal (Signal): The forward.
        *subset (str): The modalities that are there.
        key (str): The losses that have this in their name count.

    Returns:
        tuple[list[int], Tensor]: Which samples have any of the modalities,
        and the sum of the losses, 0-d; None without such a sample.
    """
    losses = signal.losses(*subset)
    if not losses:
        if get_world_size() > 1:
            signal.losses(*signal.modalities)
        return [], None
    return rows_with(signal.outputs.present, subset), sum_losses(losses, key)


def sum_losses(losses: Dict[str, Any], key: str = 'loss') -> Tensor:
    """The sum of a model's losses, as MMEngine makes it.

    Args:
        losses (dict[str, Any]): What the model's ``loss`` returns.
        key (str): The losses that have this in their name count.

    Returns:
        Tensor: 0-d, float32.

    Raises:
        ValueError: If no loss has ``key`` in its name.
    """
    found = [v for k, v in losses.items() if 'loss' in k and key in k]
    if not found:
        raise ValueError(f'losses={key!r} is in no name of the losses '
                         f'{[k for k in losses if "loss" in k]}')
    return torch.stack([
        x.float().mean() for v in found
        for x in (v if isinstance(v, (list, tuple)) else [v])
    ]).sum()


def head_of(signal: Signal) -> Any:
    """The head of a segmentor or classifier, None without one."""
    model = signal.host.model if signal.host is not None else None
    head = getattr(model, 'decode_head', getattr(model, 'head', None))
    # Cascades have several, of which the last one predicts.
    return head[-1] if isinstance(head, torch.nn.ModuleList) else head
