"""One multimodal checkpoint from a trained model of each modality."""
import os.path as osp
from typing import Dict, Mapping, Optional

import torch
from mmengine.runner.checkpoint import CheckpointLoader
from torch import Tensor, nn

from mwam_mm.atomic import replacing
from mwam_mm.checkpoint import weights_of
from mwam_mm.models.backbones.multi_branch import MultiBranch
from mwam_mm.models.backbones.pretrained import adapt_stems, is_output_norm
from mwam_mm.models.necks import MWAMNeck

__all__ = ['merge_branches', 'save_merged']

_NOT_HEADS = ('backbone.', 'data_preprocessor.', 'neck.fusions.')


def merge_branches(model: nn.Module,
                   files: Mapping[str, str],
                   heads: Optional[str] = None) -> Dict[str, Tensor]:
    """Weights for a multimodal model from a trained model of each modality.

    A file is the checkpoint of a stock model of MMSegmentation or MMDetection,
    whose backbone becomes the modality's branch, or of a multimodal model that
    has this branch. Where the branch reads another number of channels than
    the backbone did, the first convolution is adapted
    (:func:`adapt_in_channels`); everything else is as in the file, bit by bit.

    Args:
        model (nn.Module): The multimodal model. It is not changed.
        files (Mapping[str, str]): Modality to the path of a checkpoint, for
            each modality of the model.
        heads (str, optional): The modality whose file also gives the neck and
            the heads. Defaults to None, nobody's: they start from scratch.

    Returns:
        dict[str, Tensor]: Part of the model's ``state_dict``: the branches
        and, with ``heads``, all but the fusions. On the CPU.

    Raises:
        ValueError: If a file does not fit, naming the file, the modality and
            the keys; or if the modalities are not those of the model.
        FileNotFoundError: If there is no such file.
    """
    backbone = getattr(model, 'backbone', None)
    if not isinstance(backbone, MultiBranch):
        raise ValueError(
            f'{type(model).__name__} has no backbone with a branch for each '
            'modality: name the config of a model with mwam_mm.'
            'MultiModalBackbone or of mwam_mm.multimodal')
    names = backbone.layout.names
    for name in (*files, *([] if heads is None else [heads])):
        if name not in names:
            raise ValueError(f'unknown modality "{name}": the model has '
                             f'{list(names)}')
    for name in names:
        if name not in files:
            raise ValueError(f'modality "{name}" has no file: name one by '
                             f'{name}=FILE')
    merged: Dict[str, Tensor] = {}
    for name in names:
        where = f'modality "{name}": {files[name]}'
        weights = _load(files[name], where)
        branch = backbone.branches[name]
        prefix = f'backbone.branches.{name}.'
        of_branch = _below(weights, _prefix_of_branch(weights, name, where))
        adapt_stems(branch, of_branch, backbone.layout[name].channels, where)
        _check(branch, branch.state_dict(), of_branch, prefix, where)
        merged.update({prefix + key: of_branch[key] for key in of_branch})
        if name == heads:
            own = _heads(model.state_dict())
            found = _heads(_names_of_neck(model, weights))
            if getattr(model, 'auxiliary_head', None) is None:
                # It does not matter for what the others predict.
                found = {key: value for key, value in found.items()
                         if not key.startswith('auxiliary_head.')}
            _check(model, own, found, '', where)
            merged.update(found)
    return merged


def save_merged(weights: Mapping[str, Tensor], files: Mapping[str, str],
                path: str) -> None:
    """Write a checkpoint, or nothing.

    Args:
        weights (Mapping[str, Tensor]): What :func:`merge_branches` gives.
        files (Mapping[str, str]): Modality to where it comes from.
        path (str): Path of the checkpoint, for ``load_from``. A file of this
            name is replaced.
    """
    with replacing(path) as partial:
        torch.save(
            dict(
                meta=dict(branches=dict(files)), state_dict=dict(weights)),
            partial)


def _load(file: str, where: str) -> Dict[str, Tensor]:
    if not osp.isfile(file):
        raise FileNotFoundError(f'{where}: there is no such file')
    try:
        checkpoint = CheckpointLoader.load_checkpoint(file, map_location='cpu')
    except Exception as error:  # of many kinds, by PyTorch's version
        raise ValueError(f'{where} cannot be read: {error}') from error
    return weights_of(checkpoint, where)


def _prefix_of_branch(weights: Mapping[str, Tensor], name: str,
                      where: str) -> str:
    """What the keys of the modality's backbone begin with in its file."""
    if not any(key.startswith('backbone.branches.') for key in weights):
        if any(key.startswith('backbone.') for key in weights):
            return 'backbone.'
        raise ValueError(
            f'{where} has no key that begins with "backbone.", but '
            f'{next(iter(weights))!r}: name the checkpoint of a whole model. '
            "Weights of a backbone alone go into the branch's init_cfg")
    prefix = f'backbone.branches.{name}.'
    if not any(key.startswith(prefix) for key in weights):
        branches = {key.split('.')[2] for key in weights
                    if key.startswith('backbone.branches.')}
        raise ValueError(f'{where} is of a model with the branches '
                         f'{sorted(branches)}, but none for "{name}"')
    return prefix


def _below(weights: Mapping[str, Tensor], prefix: str) -> Dict[str, Tensor]:
    return {key[len(prefix):]: value for key, value in weights.items()
            if key.startswith(prefix)}


def _heads(weights: Mapping[str, Tensor]) -> Dict[str, Tensor]:
    return {key: value for key, value in weights.items()
            if not key.startswith(_NOT_HEADS)}


def _names_of_neck(model: nn.Module,
                   weights: Mapping[str, Tensor]) -> Dict[str, Tensor]:
    """The weights of a stock model, its neck named as within MWAMNeck."""
    if not isinstance(getattr(model, 'neck', None), MWAMNeck) or any(
            key.startswith('backbone.branches.') for key in weights):
        return dict(weights)
    return {f'neck.{key}' if key.startswith('neck.') else key: value
            for key, value in weights.items()}


def _check(module: nn.Module, own: Mapping[str, Tensor],
           found: Mapping[str, Tensor], prefix: str, where: str) -> None:
    """Raise ValueError unless the weights are all that a module has.

    Counters and transformers' norm layers at outputs may be missing.
    """
    problems = dict(
        missing=[
            key for key, value in own.items()
            if key not in found and value.is_floating_point()
            and not is_output_norm(module, key)
        ],
        unexpected=[key for key in found if key not in own],
        misshaped=[
            f'{key} {tuple(found[key].shape)} for {tuple(own[key].shape)}'
            for key in own
            if key in found and found[key].shape != own[key].shape
        ])
    said = [
        f'{len(keys)} {problem}, the first {prefix}{keys[0]}'
        for problem, keys in problems.items() if keys
    ]
    if said:
        raise ValueError(
            f'{where} does not fit {type(module).__name__}: '
            f'{"; ".join(said)}. ' +
            ('Name the file of a model with the same backbone'
             if prefix else 'Name the file of a model with the same neck, '
             'heads and classes, or take no heads'))
