"""One branch per modality on the stacked tensor."""
import copy
import inspect
from contextlib import contextmanager
from typing import Dict, Iterator, List, Mapping, NamedTuple, Optional, Tuple

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from mwam_mm.layout import ModalityLayout
from mwam_mm.registry import MODELS

Features = Tuple[Tensor, ...]


class BranchOutputs(NamedTuple):
    """What :class:`MultiModalBackbone` hands to :class:`MWAMNeck`.

    Args:
        features (dict[str, tuple[Tensor] | None]): Modality to its features,
            a tensor of shape (B, C_l, H_l, W_l) per level, exactly 0 for the
            samples that lack the modality. None where no sample has it.
        inputs (dict[str, Tensor]): Modality to its normalised input of shape
            (B, C_m, H, W).
        present (dict[str, list[bool]]): Modality to whether each of the B
            samples has it.
    """
    features: Dict[str, Optional[Features]]
    inputs: Dict[str, Tensor]
    present: Dict[str, List[bool]]


class EncodeOnce:
    """Features shared between predictions for several combinations.

    Made by :meth:`MultiModalBackbone.encode_once`.
    """

    def __init__(self, layout: ModalityLayout) -> None:
        self._layout = layout
        self._cache: List[Dict[str, Optional[Features]]] = []
        self._call = 0
        self.names = layout.names

    def select(self, names) -> None:
        """Start the prediction for the combination ``names``."""
        self.names = self._layout.check_names(names, 'combination')
        self._call = 0

    def next_call(self) -> Dict[str, Optional[Features]]:
        """Features known for this call of the backbone.

        One prediction may call the backbone several times (slide inference);
        the calls come in the same order for every combination.
        """
        if self._call == len(self._cache):
            self._cache.append({})
        self._call += 1
        return self._cache[self._call - 1]


@MODELS.register_module()
class MultiModalBackbone(BaseModule):
    """Encode each modality of a stacked tensor by a branch of its own.

    A modality is absent from a sample exactly when all its channels are 0.
    Its branch does not run for that sample, so that normalisation statistics
    never see blank images, and its features are exactly 0.

    Args:
        modalities (Mapping): The layout, see :class:`ModalityLayout`.
        branch (dict, optional): Config of the backbone that every modality
            without an entry in ``branches`` gets. ``in_channels`` is set from
            the layout. Defaults to None.
        branches (dict[str, dict], optional): Modality to the config of its
            backbone, for branches that differ. Defaults to None.
        init_cfg (dict, optional): Initialisation config. Defaults to None.

    Raises:
        ValueError: If a modality has no branch, ``branches`` names a modality
            that the layout lacks, or a branch's ``in_channels`` differs from
            the layout.

    Examples:
        .. code-block:: python

            model = dict(
                backbone=dict(
                    type='mwam_mm.MultiModalBackbone',
                    modalities=modalities,
                    branch=dict(type='ResNetV1c', depth=18, num_stages=4,
                                out_indices=(0, 1, 2, 3))))
    """

    def __init__(self,
                 modalities: Mapping,
                 branch: Optional[dict] = None,
                 branches: Optional[Mapping[str, dict]] = None,
                 init_cfg: Optional[dict] = None) -> None:
        super().__init__(init_cfg=init_cfg)
        self.layout = ModalityLayout(modalities)
        branches = dict(branches or {})
        self.layout.check_names(list(branches), 'MultiModalBackbone.branches')
        self.branches = nn.ModuleDict()
        for name in self.layout.names:
            cfg = branches.get(name, branch)
            if cfg is None:
                raise ValueError(
                    f'modality "{name}" has no branch: give '
                    f'MultiModalBackbone.branch or .branches[{name!r}]')
            self.branches[name] = self._build_branch(name, cfg)
        self._session: Optional[EncodeOnce] = None

    def _build_branch(self, name: str, cfg: dict) -> nn.Module:
        cfg = copy.deepcopy(cfg)
        channels = self.layout[name].channels
        if cfg.get('in_channels', channels) != channels:
            raise ValueError(
                f'the branch of modality "{name}" has in_channels='
                f'{cfg["in_channels"]}, but modalities[{name!r}].channels='
                f'{channels}')
        backbone = cfg['type']
        if isinstance(backbone, str):
            with MODELS.switch_scope_and_registry(
                    cfg.get('_scope_')) as registry:
                backbone = registry.get(backbone)
        if _accepts(backbone, 'in_channels'):
            cfg['in_channels'] = channels
        elif channels != 3:
            raise ValueError(
                f'backbone {cfg["type"]} takes 3 channels only, but modality '
                f'"{name}" has {channels}')
        return MODELS.build(cfg)

    @contextmanager
    def encode_once(self) -> Iterator[EncodeOnce]:
        """Share the branches' features between combinations.

        Within the context every prediction must be made for the same inputs.
        ``session.select(names)`` starts the prediction for one combination;
        each branch then runs once however many combinations follow.

        Yields:
            EncodeOnce: The session.
        """
        self._session = EncodeOnce(self.layout)
        try:
            yield self._session
        finally:
            self._session = None

    def presence(self, x: Tensor) -> Dict[str, List[bool]]:
        """Which modalities each sample of a stacked tensor has.

        Args:
            x (Tensor): Normalised stacked tensor of shape (B, C, H, W).

        Returns:
            dict[str, list[bool]]: Modality to one bool per sample.
        """
        flags = torch.stack([
            x[:, modality.slice].flatten(1).any(1)
            for modality in self.layout.values()
        ])
        return dict(zip(self.layout.names, flags.tolist()))

    def forward(self, x: Tensor) -> BranchOutputs:
        """Encode the modalities.

        Args:
            x (Tensor): Normalised stacked tensor of shape (B, C, H, W).

        Returns:
            BranchOutputs: Features, inputs and presence per modality.

        Raises:
            ValueError: If the number of channels is not the layout's, or a
                sample has no modality at all.
        """
        if x.size(1) != self.layout.num_channels:
            raise ValueError(
                f'the input has {x.size(1)} channels, but the layout '
                f'{self.layout} has {self.layout.num_channels}')
        present = self.presence(x)
        inputs = {
            name: x[:, modality.slice]
            for name, modality in self.layout.items()
        }
        known: Dict[str, Optional[Features]] = {}
        if self._session is not None:
            known = self._session.next_call()
            for name in self.layout.names:
                if name not in self._session.names:
                    present[name] = [False] * len(x)
        for i, sample in enumerate(zip(*present.values())):
            if not any(sample):
                raise ValueError(
                    f'sample {i} of the batch has none of the modalities '
                    f'{list(self.layout.names)}: all their channels are 0')
        features: Dict[str, Optional[Features]] = {}
        for name in self.layout.names:
            if not any(present[name]):
                features[name] = None
                continue
            if name not in known:
                known[name] = self._encode(name, inputs[name], present[name])
            features[name] = known[name]
        if self.training:
            self._touch_idle_branches(features)
        return BranchOutputs(features, inputs, present)

    def _encode(self, name: str, x: Tensor, present: List[bool]) -> Features:
        """Run one branch on the samples that have its modality."""
        branch = self.branches[name]
        if all(present):
            return _as_tuple(branch(x))
        index = torch.tensor([i for i, p in enumerate(present) if p],
                             device=x.device)
        return tuple(
            f.new_zeros(len(present), *f.shape[1:]).index_copy(0, index, f)
            for f in _as_tuple(branch(x[index])))

    def _touch_idle_branches(
            self, features: Dict[str, Optional[Features]]) -> None:
        """Give the parameters of branches that did not run a zero gradient.

        DistributedDataParallel waits for a gradient of every parameter on
        every rank, and a rank may lack a modality that another one has.
        """
        idle = [
            p for name, f in features.items() if f is None
            for p in self.branches[name].parameters() if p.requires_grad
        ]
        if not idle:
            return
        zero = sum(p.sum() for p in idle) * 0.
        name = next(name for name, f in features.items() if f is not None)
        features[name] = tuple(f + zero.to(f.dtype) for f in features[name])


def _accepts(cls: type, name: str) -> bool:
    """Whether a class takes an argument, itself or by passing it on."""
    for base in cls.__mro__:
        if '__init__' not in vars(base):
            continue
        parameters = inspect.signature(base.__init__).parameters
        if name in parameters:
            return True
        if all(p.kind != p.VAR_KEYWORD for p in parameters.values()):
            return False
    return False


def _as_tuple(features) -> Features:
    return (features, ) if isinstance(features, Tensor) else tuple(features)
