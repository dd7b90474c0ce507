"""The signal of a model that fuses its branches in an MWAMNeck."""
from typing import Any, Iterator, List, Set

from torch import nn

from mwam_mm.models import MultiModalBackbone, MWAMNeck
from mwam_mm.models.backbones import BranchOutputs
from mwam_mm.models.host import find_host
from mwam_mm.models.joined import JoinedForward

from ..predictions import has_labels
from .base import AtEnd, AtFeatures, Listener, Probe, untraced

__all__ = ['NeckProbe', 'find_neck', 'find_necks']


class NeckProbe(Probe):
    """The signal of a model whose :class:`MWAMNeck` fuses the branches.

    Args:
        model (nn.Module): The model, without wrapper.
        neck (MWAMNeck): Its neck.
    """

    gives_features = True

    def __init__(self, model: nn.Module, neck: MWAMNeck) -> None:
        super().__init__(model, neck.layout.names)
        self.neck = neck
        self.host = find_host(model)
        for backbone in self._backbones():
            for name, branch in backbone.branches.items():
                self.modules.setdefault(name, []).append(branch)
        for name, branches in self.modules.items():
            # A ModuleList gives each parameter once, also where two backbones
            # share it.
            self.branches[name] = list(nn.ModuleList(branches).parameters())

    def _backbones(self) -> Iterator[MultiModalBackbone]:
        return (m for m in self.model.modules()
                if isinstance(m, MultiModalBackbone))

    def entrances(self) -> Set[nn.Module]:
        branches = (branch for backbone in self._backbones()
                    for branch in backbone.branches.values())
        return {self.neck, *branches}

    def attach(self, at_features: AtFeatures, at_fusion: AtFeatures,
               at_end: AtEnd) -> None:
        super().attach(at_features, at_fusion, at_end)
        self._listener = Listener(untraced(self._fuse))
        self.neck.listeners.append(self._listener)
        self._handles.append(
            self.neck.register_forward_hook(
                Listener(untraced(self._fused))))

    def detach(self) -> None:
        super().detach()
        self.neck.listeners.remove(self._listener)

    def _fuse(self, outputs: BranchOutputs) -> BranchOutputs:
        signal = self._signal
        if signal is None or self.host is not None and self.host.running:
            return outputs
        for name, image in outputs.inputs.items():
            self._enter(name, image, outputs.present[name])
        signal.present = outputs.present
        signal.outputs = self._at_features(signal, outputs)
        outputs = self._at_fusion(signal, signal.outputs)
        if not signal.subsets or not has_labels(signal):
            return outputs
        if signal.joined is not None:
            raise ValueError(
                f'{type(self.model).__name__} fuses features several times '
                'in one forward, so that nobody knows of which its losses '
                f'are that {list(signal.subsets)} repeat: use an intervention '
                'that trains no subsets of the modalities')
        signal.joined = JoinedForward(
            self.host, outputs, signal.outputs, signal.subsets,
            signal.arguments['inputs'], signal.arguments['data_samples'])
        return signal.joined.outputs

    def _fused(self, neck: nn.Module, args: tuple, fused: Any) -> Any:
        signal = self._signal
        if signal is None or signal.joined is None or self.host.running:
            return None
        return signal.joined.after_neck(fused)


def find_necks(model: nn.Module, with_mwam: bool) -> List[MWAMNeck]:
    """All :class:`MWAMNeck` of a model.

    Args:
        model (nn.Module): The model.
        with_mwam (bool): Whether only those with ``mwam``.
    """
    return [m for m in model.modules() if isinstance(m, MWAMNeck)
            and not (with_mwam and m.mwam is None)]


def find_neck(model: nn.Module, where: str,
              with_mwam: bool = False) -> MWAMNeck:
    """The only :class:`MWAMNeck` of a model.

    Args:
        model (nn.Module): The model.
        where (str): The hook that looks for it, for the error message.
        with_mwam (bool): Whether it must have ``mwam``. Defaults to False.

    Raises:
        ValueError: If there is none or several.
    """
    necks = find_necks(model, with_mwam)
    if len(necks) != 1:
        needed, remedy = ' with mwam', (
            'set model.neck.mwam=dict() (model.mwam of mwam_mm.multimodal)')
        if not with_mwam:
            needed, remedy = '', 'fuse the branches in an mwam_mm.MWAMNeck'
        raise ValueError(
            f'{where} without branches needs one MWAMNeck{needed} in the '
            f'model, but found {len(necks)}: {remedy}, or give '
            f'{where}.branches')
    return necks[0]
