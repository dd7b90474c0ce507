"""What the backbones with one branch per modality share."""
import copy
from contextlib import ExitStack, contextmanager
from typing import Iterable, Iterator, List, Mapping, Optional, Tuple

import torch
from mmengine.config import Config, ConfigDict
from mmengine.dist import all_reduce, get_world_size
from mmengine.model import BaseModule, ModuleDict
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mwam_mm.config import class_of, parameter_of
from mwam_mm.layout import ModalityLayout, Presence, to_device
from mwam_mm.registry import MODELS
from mwam_mm.wrappers import count_sharded_units

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
            if cfg is not None and 'type' not in cfg and branch is not None:
                cfg = change_branch(branch, cfg)
            if cfg is None or 'type' not in cfg:
                raise ValueError(f'modality "{name}" has no branch: give '
                                 f'{where}.branch, or .branches[{name!r}] '
                                 'with a type')
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

    def _load_from_state_dict(self, state_dict: Mapping, prefix: str, *args,
                              **kwargs) -> None:
        """Refuse the weights of a model without modalities.

        Otherwise nothing of them would be loaded, and only a list of keys in
        the log would say so.
        """
        keys = [key for key in state_dict if key.startswith(prefix)]
        inside = f'{prefix}branches.'
        if keys and not any(key.startswith(inside) for key in keys):
            files = ' '.join(f'{name}=FILE' for name in self.layout)
            raise ValueError(
                f'the checkpoint has one backbone ({keys[0]}) and no branches '
                f'({inside}{self.layout.names[0]}...), so it is of a model '
                'without modalities. To start from it, write one that '
                'load_from takes: tools/model_converters/merge_branches.py '
                f'CONFIG {files} --heads {self.layout.names[0]} -o OUT. For '
                'the backbone alone, or for one branch: '
                "init_cfg=dict(type='Pretrained', checkpoint=FILE, "
                "prefix='backbone.') in `branch` or `branches`")
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def _check_presence(self, present: Presence) -> None:
        """Refuse a training sample without any modality.

        In evaluation it is a window of slide inference that lies in a hole of
        the depth, say: the data preprocessor refuses whole samples.
        """
        if not self.training:
            return
        for i, sample in enumerate(zip(*present.values())):
            if not any(sample):
                raise ValueError(
                    f'sample {i} of the batch has none of the modalities '
                    f'{list(self.layout.names)}: all their channels are 0 '
                    'after normalisation, so its files, or the crop of them, '
                    'hold no measurement. Leave it out of the training set')

    @contextmanager
    def _joined(self, present: Presence, x: Tensor) -> Iterator[List[str]]:
        """Find the branches that run although no sample here needs them.

        Another rank's batch may have the modality that this one's lacks. A
        branch that communicates with the other ranks has to run on all of
        them, here on an empty batch: SyncBatchNorm would wait for ever
        otherwise, and so would FSDP for the parameters. Where no rank has the
        modality, the running statistics stay as they are.

        Args:
            present (dict[str, list[bool]]): Which modalities each sample has.
            x (Tensor): Gives the device.

        Yields:
            list[str]: The modalities of which an empty batch is to be
            encoded.

        Raises:
            ValueError: If a branch takes the mean over the ranks whatever
                number of samples they have.
        """
        if get_world_size() == 1:
            yield []
            return
        kept: List[Tuple[Tensor, Tensor, Tensor]] = []
        parts = {name: self._parts(name) for name in self.branches}
        layers = {
            name: [m for part in found for m in part.modules()
                   if m.training and _synchronises(m)]
            for name, found in parts.items()
        }
        joined = [
            name for name, found in parts.items()
            if not any(present[name]) and
            (layers[name] or any(map(count_sharded_units, found)))
        ]
        if any(layers.values()):
            # The flags stay on the device, so that nobody waits for it.
            seen = to_device(
                [float(any(present[name])) for name in layers], x)
            all_reduce(seen)
            kept = [(statistic, statistic.clone(), has > 0)
                    for (name, found), has in zip(layers.items(), seen)
                    if name in joined
                    for statistic in _statistics(name, found)]
        with ExitStack() as stack:
            for name in joined:
                stack.enter_context(allow_single_values(self.branches[name]))
            yield joined
        with torch.no_grad():
            for statistic, before, has in kept:
                statistic.copy_(torch.where(has, statistic, before))

    def _parts(self, name: str) -> List[nn.Module]:
        """What runs for the samples that have a modality only."""
        return [self.branches[name]]

    def _touching_idle(self, present: Presence) -> Optional[Tensor]:
        """A zero that gives the parameters of what saw no sample a gradient.
        """
        return zero_touching(
            part for name in self.branches if not any(present[name])
            for part in self._parts(name) if not count_sharded_units(part))


def _statistics(name: str, layers: Iterable[nn.Module]) -> List[Tensor]:
    """The running statistics of SyncBN layers that get an empty batch."""
    if any(getattr(m, 'stats_mode', None) == 'default' for m in layers):
        raise ValueError(
            f'no sample of this rank has the modality "{name}", whose branch '
            'has MMSyncBN layers that count every rank the same: set '
            "norm_cfg=dict(type='MMSyncBN', stats_mode='N') or take SyncBN")
    return [b for m in layers for b in m.buffers(recurse=False)]


def _synchronises(module: nn.Module) -> bool:
    """Whether a layer takes its statistics over the ranks, of any library."""
    return any('SyncBatchNorm' in c.__name__ for c in type(module).__mro__)


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

    It is what a single sample pooled to 1x1 leaves, and has no variance; an
    empty batch has none either. The layers that meet it normalise by their
    running statistics instead, and keep those as they are.
    """
    frozen: List[nn.Module] = []

    def freeze(layer: nn.Module, args: tuple) -> None:
        if layer.training and args[0].numel() <= args[0].size(1):
            frozen.append(layer.eval())

    # SyncBatchNorm takes its statistics over the ranks and is left alone.
    handles = [
        layer.register_forward_pre_hook(freeze) for layer in branch.modules()
        if isinstance(layer, _BatchNorm) and not _synchronises(layer)
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


def change_branch(branch: Mapping, changes: Mapping) -> ConfigDict:
    """The config of one branch that differs in some settings.

    Args:
        branch (Mapping): Config of the backbone that all branches have.
        changes (Mapping): Other settings, merged as in a config that inherits.
            ``init_cfg`` and ``pretrained`` each replace both.

    Returns:
        ConfigDict: The changed config.
    """
    changes = dict(changes)
    start = {
        key: changes.pop(key)
        for key in ('init_cfg', 'pretrained') if key in changes
    }
    cfg = Config(copy.deepcopy(dict(branch)))
    cfg.merge_from_dict(copy.deepcopy(changes))
    merged = ConfigDict(cfg.to_dict())
    if start:
        merged.pop('init_cfg', None)
        merged.pop('pretrained', None)
        merged.update(copy.deepcopy(start))
    return merged


def _build_branch(name: str, cfg: dict, channels: int) -> nn.Module:
    cfg = copy.deepcopy(cfg)
    # A backbone inside another is looked up in the scope of the outer one.
    with MODELS.switch_scope_and_registry(cfg.get('_scope_')):
        built_for_rgb = _set_in_channels(cfg, channels)
    branch = MODELS.build(cfg)
    if built_for_rgb and channels != 3 and not replace_stems(branch, channels):
        raise ValueError(
            f'backbone {cfg["type"]} takes 3 channels only, but modality '
            f'"{name}" has {channels}')
    return branch


def _set_in_channels(cfg: dict, channels: int) -> bool:
    """Set ``in_channels`` where a backbone, or one inside it, takes it.

    Returns:
        bool: Whether one takes none, and so is built for 3 channels.
    """
    cls = class_of(cfg, MODELS)
    # The registry refuses a type that it does not know when it is built.
    accepts = cls is not None and parameter_of(cls, 'in_channels') is not None
    if accepts:
        cfg['in_channels'] = channels
    inner = cfg.get('backbone_cfg')
    if inner is not None:  # BiSeNetV1, ICNet, STDCContextPathNet
        return _set_in_channels(inner, channels)
    return not accepts
