"""What one training forward offers to weighers and interventions."""
from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional, Tuple

from torch import Tensor

from mwam_mm.layout import Presence
from mwam_mm.models.backbones import BranchOutputs
from mwam_mm.models.host import Host
from mwam_mm.models.joined import JoinedForward
from mwam_mm.models.subsets import Selection, select

__all__ = ['Signal']


@dataclass
class Signal:
    """One training forward, as far as it has come.

    A probe makes it when the forward begins and fills it on the way. When the
    forward ends the weigher observes it, and ``weights`` become its K.

    Args:
        modalities (tuple[str]): The modalities' names, in the order of K.
        weights (Tensor): K of this forward, shape (M,), float32. All are 1
            until the forward ends; backward finds the final ones.
        entered (list[tuple[str, Tensor, list[bool] | None]]): The images
            that entered the branches so far, each with its modality, of
            shape (B, C_m, H, W), and whether each sample has it, None where
            nobody knows: mostly one for each modality.
        present (dict[str, list[bool]], optional): Modality to whether each
            of the B samples has it. None where nobody knows: a weigher then
            takes an image of zeros for absent.
        outputs (BranchOutputs, optional): What the branches gave, if an
            :class:`MWAMNeck` fuses them. None on other models.
        host (Host, optional): Runs neck and heads on features that are there
            already. None on models without :class:`MultiModalBackbone`.
        arguments (dict[str, Any]): What the model was called with, by name:
            ``inputs``, ``data_samples`` and ``mode`` in OpenMMLab's models.
        subsets (dict[str, dict[str, list[bool]]]): The subsets of the
            modalities whose losses are asked for, by interventions in
            ``at_features``: name to which modalities each of the B samples
            keeps. A sample that keeps none is left out.
        joined (JoinedForward, optional): Neck and heads on the batch and
            these subsets. None where nobody asks.
    """
    modalities: Tuple[str, ...]
    weights: Tensor
    entered: List[Tuple[str, Tensor, Optional[List[bool]]]] = field(
        default_factory=list)
    present: Optional[Presence] = None
    outputs: Optional[BranchOutputs] = None
    host: Optional[Host] = None
    arguments: Dict[str, Any] = field(default_factory=dict)
    subsets: Dict[str, Presence] = field(default_factory=dict)
    joined: Optional[JoinedForward] = None

    @property
    def inputs(self) -> Dict[str, Tensor]:
        """dict[str, Tensor]: Modality to the first image that entered its
        branch."""
        inputs: Dict[str, Tensor] = {}
        for name, image, _ in self.entered:
            inputs.setdefault(name, image)
        return inputs

    @property
    def features(self) -> Dict[str, Any]:
        """dict[str, Any]: Modality to the features of its branch, a tensor
        of shape (B, C_l, H_l, W_l) per level; None where no sample has it.
        Empty on models without :class:`MWAMNeck`."""
        return {} if self.outputs is None else self.outputs.features

    def losses(self, *subset: str) -> Dict[str, Any]:
        """The model's losses from some of the modalities only.

        The features are those of this forward, so no branch runs. Neck and
        heads run once and learn nothing, see :meth:`Host.scoring`.

        Args:
            *subset (str): The modalities that are there.

        Returns:
            dict[str, Any]: As the model's ``loss`` returns. Empty if no
            sample has any of the modalities.

        Raises:
            RuntimeError: If the model does not hand features of a
                :class:`MultiModalBackbone` to an :class:`MWAMNeck`.
            ValueError: If the subset is empty or names an unknown modality.
        """
        host, selection = self._select(subset)
        if not selection.rows:
            return {}
        with host.scoring():
            return host.losses(selection, self.arguments['inputs'],
                               self.arguments['data_samples'])

    def logits(self, *subset: str) -> Tuple[List[int], Any]:
        """What the model's heads make of some of the modalities only.

        As :meth:`losses`, without labels.

        Args:
            *subset (str): The modalities that are there.

        Returns:
            tuple[list[int], Any]: Which of the B samples have any of the
            modalities, and for these N samples what the model returns with
            ``mode='tensor'``: in segmentation logits of shape
            (N, num_classes, H_l, W_l). None if there is no such sample.

        Raises:
            RuntimeError: If the model does not hand features of a
                :class:`MultiModalBackbone` to an :class:`MWAMNeck`.
            ValueError: If the subset is empty or names an unknown modality.
        """
        host, selection = self._select(subset)
        if not selection.rows:
            return [], None
        with host.scoring():
            return selection.rows, host.logits(selection,
                                               self.arguments['inputs'])

    def _select(self, subset: Tuple[str, ...]) -> Tuple[Host, Selection]:
        if self.host is None or self.outputs is None:
            raise RuntimeError(
                'losses and logits of single modalities need their features, '
                'which only a model with one mwam_mm.MultiModalBackbone and '
                'an mwam_mm.MWAMNeck hands out')
        return self.host, select(self.outputs, subset)
