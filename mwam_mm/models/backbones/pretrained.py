"""Pretrained weights for branches of any number of input channels."""
from contextlib import contextmanager
from typing import Iterator, List, Mapping

from mmengine.logging import print_log
from torch import Tensor, nn

from mwam_mm.config import type_name


def adapt_in_channels(weight: Tensor, channels: int,
                      phases: int = 1) -> Tensor:
    """Make a convolution's weight take another number of channels.

    The channels' weights are added up and shared out equally. The response
    to an image whose channels are all alike is then the same: a 1-channel
    kernel sees a grey image as the 3-channel kernel saw it, and the
    activations keep the scale that the following layers were trained for.

    Args:
        weight (Tensor): Of shape (C_out, phases * C_in, kH, kW).
        channels (int): The new number of input channels.
        phases (int): Number of subsampled images that the convolution reads
            side by side: 4 in a ``Focus`` layer. Defaults to 1.

    Returns:
        Tensor: Of shape (C_out, phases * channels, kH, kW).

    Examples:
        >>> import torch
        >>> adapt_in_channels(torch.ones(8, 3, 7, 7), 1).unique()
        tensor([3.])
    """
    weight = weight.unflatten(1, (phases, -1))
    share = weight.sum(2, keepdim=True) / channels
    return share.repeat(1, 1, channels, 1, 1).flatten(1, 2)


def _phases(module: nn.Module, name: str) -> int:
    """How many subsampled images a layer within ``module`` reads."""
    parents = name.split('.')
    return 4 if any(
        type(module.get_submodule('.'.join(parents[:i]))).__name__ == 'Focus'
        for i in range(len(parents))) else 1


def replace_stems(module: nn.Module, channels: int) -> bool:
    """Make the convolutions that take an RGB image take ``channels``.

    Args:
        module (nn.Module): A backbone built for 3 channels; changed in place.
        channels (int): The new number of input channels.

    Returns:
        bool: Whether there was any.
    """
    stems = []
    for name, conv in module.named_modules():
        if not isinstance(conv, nn.Conv2d) or conv.groups != 1:
            continue
        phases = _phases(module, name)
        if conv.in_channels != 3 * phases:
            continue
        conv.weight = nn.Parameter(
            adapt_in_channels(conv.weight.detach(), channels, phases),
            requires_grad=conv.weight.requires_grad)
        conv.in_channels = channels * phases
        stems.append(conv)
    return bool(stems)


@contextmanager
def checked_pretrained(branches: Mapping[str, nn.Module],
                       channels: Mapping[str, int],
                       strict: bool) -> Iterator[None]:
    """Fit and check the pretrained weights that are loaded in this context.

    Convolutions of a branch that read the image get weights of 3 channels
    adapted to their own. It works on whatever is loaded by an ``init_cfg`` of
    type ``Pretrained`` into a branch or a part of it.

    Args:
        branches (Mapping[str, nn.Module]): Modality to its branch.
        channels (Mapping[str, int]): Modality to its number of channels.
        strict (bool): Whether the weights must give every parameter.

    Raises:
        ValueError: If the weights do not fit, or nothing was loaded.
    """
    handles, pending = [], {}
    for name, branch in branches.items():
        for module in branch.modules():
            checkpoint = _checkpoint(module)
            if checkpoint is None:
                continue
            where = f'modality "{name}": {checkpoint}'
            pending[module] = (
                f'{where} was not loaded: {type(module).__name__} does not '
                'support init_cfg')

            def fit(state_dict, prefix, *args, module=module, where=where,
                    name=name):
                if prefix == '':  # not when a parent module is loaded
                    pending.pop(module, None)
                    _fit(module, state_dict, channels[name], strict, where)

            handles.append(module._register_load_state_dict_pre_hook(fit))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
    for message in pending.values():
        raise ValueError(message)


def _checkpoint(module: nn.Module):
    """The pretrained file that a module's ``init_cfg`` names, if any."""
    cfgs = getattr(module, 'init_cfg', None) or []
    for cfg in [cfgs] if isinstance(cfgs, Mapping) else cfgs:
        if type_name(cfg).startswith('Pretrained'):
            return cfg.get('checkpoint')
    return None


def adapt_stems(module: nn.Module, state_dict: dict, channels: int,
                where: str) -> None:
    """Make the weights of first convolutions for RGB images fit a branch.

    Args:
        module (nn.Module): The branch.
        state_dict (dict): Weights for it, changed in place.
        channels (int): The branch's number of input channels.
        where (str): Where the weights are from, for the log.
    """
    own = module.state_dict()
    for key in own.keys() & state_dict.keys():
        weight = state_dict[key]
        if _is_stem(module, key, own[key], weight, channels):
            state_dict[key] = adapt_in_channels(
                weight, channels, _phases(module, key.rpartition('.')[0]))
            print_log(f'{where}: {key} adapted from 3 to {channels} channels',
                      'current')


def _fit(module: nn.Module, state_dict: dict, channels: int, strict: bool,
         where: str) -> None:
    # Counters and index tables may differ, so only what is floating counts.
    own = {k: v for k, v in module.state_dict().items()
           if v.is_floating_point()}
    adapt_stems(module, state_dict, channels, where)
    misshaped = [
        f'{k} {tuple(state_dict[k].shape)} for {tuple(v.shape)}'
        for k, v in own.items()
        if k in state_dict and state_dict[k].shape != v.shape
    ]
    missing = [k for k in own if k not in state_dict]
    required = [k for k in missing if not is_output_norm(module, k)]
    nothing = len(missing) + len(misshaped) == len(own)
    if nothing or strict and (misshaped or required):
        unexpected = [k for k in state_dict if k not in own]
        raise ValueError(
            f'{where} does not fit {type(module).__name__}. '
            f'Missing: {_shorten(missing)}. '
            f'Of another shape: {_shorten(misshaped)}. '
            f'Unexpected: {_shorten(unexpected)}. '
            'Give the file of the same architecture (init_cfg.prefix selects '
            'a part of it)' +
            ('.' if nothing else ', or set strict=False to load what fits.'))


def _is_stem(module: nn.Module, key: str, own: Tensor, weight: Tensor,
             channels: int) -> bool:
    """Whether ``weight`` is of a first convolution for RGB images."""
    name = key.rpartition('.')[0]
    owner, phases = module.get_submodule(name), _phases(module, name)
    return (isinstance(owner, nn.Conv2d) and owner.groups == 1
            and own.ndim == weight.ndim == 4 and channels != 3
            and own.size(1) == channels * phases
            and weight.size(1) == 3 * phases and own.size(0) == weight.size(0)
            and own.shape[2:] == weight.shape[2:])


def is_output_norm(module: nn.Module, key: str) -> bool:
    """Whether ``key`` is of a LayerNorm at an output of a transformer.

    Classifiers have one at the last output only, or none.
    """
    owner = key.rpartition('.')[0]
    return '.' not in owner and isinstance(
        module.get_submodule(owner), nn.LayerNorm)


def _shorten(keys: List[str]) -> str:
    if not keys:
        return 'none'
    more = f' and {len(keys) - 6} more' if len(keys) > 6 else ''
    return ', '.join(keys[:6]) + more
