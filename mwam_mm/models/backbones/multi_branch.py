"""What the backbones with one branch per modality share."""
import copy
import inspect
from contextlib import contextmanager
from typing import Any, Iterable, Iterator, List, Mapping, Optional

import torch
from mmengine.model import BaseModule, ModuleDict
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mwam_mm.layout import ModalityLayout, Presence, to_device
from mwam_mm.registry import MODELS

from .pretrained import checked_pretrained, replace_stems


class MultiBranch(BaseModule):
    """Base of the backbones with one branch per modality.

    See :class:`MultiModalBackbone` for the arguments.
    """

    def __init__(self,
                 modalities: Mapping,
                 branch: Optional[dict] = None,
                 branches: Optional[Mapping[str, dict]] = None,
                 strict: bool = True,
                 init_cfg: Optional[dict] = None) -> None:
        super().__init__(init_cfg=init_cfg)
        self.layout = ModalityLayout(modalities)
        self.strict = strict
        branches = dict(branches or {})
        where = type(self).__name__
        self.layout.check_names(list(branches), f'{where}.branches')
        for name, cfg in branches.items():
            channels = self.layout[name].channels
            if cfg.get('in_channels', channels) != channels:
                raise ValueError(
                    f'the branch of modality "{name}" has in_channels='
                    f'{cfg["in_channels"]}, but modalities[{name!r}].channels='
                    f'{channels}')
        self.branches = ModuleDict()
        for name, modality in self.layout.items():
            cfg = branches.get(name, branch)
            if cfg is None:
                raise ValueError(f'modality "{name}" has no branch: give '
                                 f'{where}.branch or .branches[{name!r}]')
            self.branches[name] = _build_branch(name, cfg, modality.channels)

    def init_weights(self) -> None:
        """Initialise the branches, loading pretrained files where given.

        Raises:
            ValueError: If a pretrained file does not fit its branch.
        """
        if self.is_init:
            super().init_weights()  # which says that it is the second time
            return
        channels = {name: m.channels for name, m in self.layout.items()}
        with checked_pretrained(self.branches, channels, self.strict):
            super().init_weights()

    def _check_presence(self, present: Presence) -> None:
        """Refuse a training sample without any modality.

        In evaluation it is a window of slide inference that lies in a hole of
        the depth, say: the data preprocessor refuses whole samples.
        """
        for i, sample in enumerate(zip(*present.values())):
            if self.training and not any(sample):
                raise ValueError(
                    f'sample {i} of the batch has none of the modalities '
                    f'{list(self.layout.names)}: all their channels are 0 '
                    'after normalisation, so its files, or the crop of them, '
                    'hold no measurement. Leave it out of the training set')


def scatter(x: Tensor, present: List[bool]) -> Tensor:
    """Put the features of the present samples in their places, 0 elsewhere.

    Args:
        x (Tensor): Of shape (number present, ...).
        present (list[bool]): One flag per sample of the batch.

    Returns:
        Tensor: Of shape (B, ...).
    """
    if all(present):
        return x
    index = to_device(_where(present), x, torch.long)
    return x.new_zeros(len(present), *x.shape[1:]).index_copy(0, index, x)


def gather(x: Tensor, present: List[bool]) -> Tensor:
    """The present samples of a batch."""
    if all(present):
        return x
    return x.index_select(0, to_device(_where(present), x, torch.long))


def _where(present: List[bool]) -> List[int]:
    return [i for i, p in enumerate(present) if p]


@contextmanager
def allow_single_values(branch: nn.Module) -> Iterator[None]:
    """Let BatchNorm layers of a branch that trains meet one value a channel.

    It is what a single sample pooled to 1x1 leaves, and has no variance. The
    layers that meet it normalise by their running statistics instead, and
    keep those as they are.
    """
    frozen: List[nn.Module] = []

    def freeze(layer: nn.Module, args: tuple) -> None:
        if layer.training and args[0].numel() == args[0].size(1):
            frozen.append(layer.eval())

    # Not SyncBatchNorm, which takes its statistics over the ranks.
    handles = [
        layer.register_forward_pre_hook(freeze) for layer in branch.modules()
        if isinstance(layer, _BatchNorm)
        and not isinstance(layer, nn.SyncBatchNorm)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        for layer in frozen:
            layer.train()


def zero_touching(modules: Iterable[nn.Module]) -> Optional[Tensor]:
    """A zero that gives the parameters of ``modules`` a zero gradient.

    DistributedDataParallel waits for a gradient of every parameter on every
    rank, and a rank may lack a modality that another one has.
    """
    parameters = [
        p for m in modules for p in m.parameters() if p.requires_grad
    ]
    return sum(p.sum() for p in parameters) * 0. if parameters else None


def _build_branch(name: str, cfg: dict, channels: int) -> nn.Module:
    cfg = copy.deepcopy(cfg)
    with MODELS.switch_scope_and_registry(cfg.get('_scope_')) as registry:
        built_for_rgb = _set_in_channels(cfg, channels, registry)
    branch = MODELS.build(cfg)
    if built_for_rgb and channels != 3 and not replace_stems(branch, channels):
        raise ValueError(
            f'backbone {cfg["type"]} takes 3 channels only, but modality '
            f'"{name}" has {channels}')
    return branch


def _set_in_channels(cfg: dict, channels: int, registry) -> bool:
    """Set ``in_channels`` where a backbone, or one inside it, takes it.

    Returns:
        bool: Whether one takes none, and so is built for 3 channels.
    """
    cls = cfg['type']
    if isinstance(cls, str):
        cls = registry.get(cls)
    inner = cfg.get('backbone_cfg')
    accepts = _accepts(cls, 'in_channels')
    if accepts:
        cfg['in_channels'] = channels
    if inner is not None:  # BiSeNetV1, ICNet, STDCContextPathNet
        return _set_in_channels(inner, channels, registry)
    return not accepts


def _accepts(cls: type, name: str) -> bool:
    """Whether a class takes an argument, itself or by passing it on."""
    return _parameter(cls, name) is not None


def default_of(cls: type, name: str) -> Any:
    """Default of a class's argument, None where it takes no such."""
    parameter = _parameter(cls, name)
    return None if parameter is None else parameter.default


def _parameter(cls: type, name: str) -> Optional[inspect.Parameter]:
    for base in cls.__mro__:
        if '__init__' not in vars(base):
            continue
        parameters = inspect.signature(base.__init__).parameters
        if name in parameters:
            return parameters[name]
        if all(p.kind != p.VAR_KEYWORD for p in parameters.values()):
            return None
    return None
