"""One branch per modality on the stacked tensor."""
from contextlib import contextmanager, nullcontext
from typing import ContextManager, Dict, Iterator, List, Optional

import torch
from mmengine.dist import get_world_size
from torch import Tensor

from mwam_mm.attributes import replaced_attribute
from mwam_mm.registry import MODELS

from .branch_outputs import BranchOutputs, Features, map_levels
from .encode_once import EncodeOnce
from .multi_branch import MultiBranch, allow_single_values, gather, scatter


@MODELS.register_module()
class MultiModalBackbone(MultiBranch):
    """Encode each modality of a stacked tensor by a branch of its own.

    Where a sample lacks a modality (:meth:`ModalityLayout.presence`), the
    branch does not run for it, so that normalisation statistics never see
    blank images, and its features are exactly 0. So are all those of a window
    of slide inference that lies in a hole of the only modality.

    A branch is any registered backbone, and the modalities may have different
    ones. ``in_channels`` is set from the layout, also in the ``backbone_cfg``
    of a backbone that holds another; where a backbone takes no such argument,
    its first convolution is made to fit.

    Pretrained weights go into each branch by its own ``init_cfg``. The first
    convolution's 3 channels are adapted to the modality's so that the response
    to a grey image stays the same (:func:`adapt_in_channels`). Parameters that
    the file lacks or holds in another shape are an error, apart from the
    LayerNorms at a transformer's outputs; what it has besides, such as a
    classifier, is left out.

    Args:
        modalities (Mapping): The layout, see :class:`ModalityLayout`.
        branch (dict, optional): Config of the backbone that every modality
            without an entry in ``branches`` gets. Defaults to None.
        branches (dict[str, dict], optional): Modality to the config of its
            backbone, for branches that differ. Without a ``type`` it says
            what differs from ``branch``. Defaults to None.
        strict (bool): Whether a pretrained file must give every parameter of
            its branch. With False what fits is loaded, which must be
            something. Defaults to True.
        init_cfg (dict, optional): Initialisation config. Defaults to None.

    Raises:
        ValueError: If a modality has no branch, ``branches`` names a modality
            that the layout lacks or has another ``in_channels``, or a
            backbone has no convolution that could take the channels.

    Examples:
        .. code-block:: python

            imagenet = dict(
                type='Pretrained', checkpoint='checkpoints/resnet18_v1c.pth')
            model = dict(
                backbone=dict(
                    type='mwam_mm.MultiModalBackbone',
                    modalities=modalities,
                    branch=dict(type='ResNetV1c', depth=18, num_stages=4,
                                out_indices=(0, 1, 2, 3),
                                init_cfg=imagenet)))

            # The RGB branch pretrained and frozen in its first stage.
            branches=dict(rgb=dict(frozen_stages=1, init_cfg=imagenet))

            # The depth branch of another type; MWAMNeck then needs in_channels
            # for each and a fusion such as ConcatFusion.
            branches=dict(depth=dict(type='MobileNetV2',
                                     out_indices=(1, 2, 4, 6)))
    """

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self._session: Optional[EncodeOnce] = None
        self._replayed: Optional[BranchOutputs] = None

    def replay(self, outputs: BranchOutputs) -> ContextManager[None]:
        """Return features that are there already instead of encoding.

        Args:
            outputs (BranchOutputs): What each forward returns within the
                context, whatever its input.
        """
        return replaced_attribute(self, '_replayed', outputs)

    @contextmanager
    def encode_once(self) -> Iterator[EncodeOnce]:
        """Share the branches' features between combinations.

        Within the context every prediction must be made for the same inputs,
        apart from modalities that are said to be changed.
        ``session.select(names, images)`` starts the prediction for one
        combination; each branch then runs once however many follow.

        Yields:
            EncodeOnce: The session.
        """
        session = EncodeOnce(self.layout)
        with replaced_attribute(self, '_session', session):
            yield session

    def forward(self, x: Tensor) -> BranchOutputs:
        """Encode the modalities.

        Args:
            x (Tensor): Normalised stacked tensor of shape (B, C, H, W).

        Returns:
            BranchOutputs: Features, inputs and presence per modality.

        Raises:
            ValueError: If the number of channels is not the layout's, or a
                training sample has no modality at all.
        """
        if self._replayed is not None:
            return self._replayed
        present = self.layout.presence(x)
        inputs = {
            name: x[:, modality.slice]
            for name, modality in self.layout.items()
        }
        if (self._session is None
                and (not self.training or get_world_size() == 1)
                and all(map(all, present.values()))):
            # Mostly nothing is left out, shared or joined. A GPU would wait
            # for the rest of this function.
            branches = self.branches
            return BranchOutputs(
                {name: branches[name](x) for name, x in inputs.items()},
                inputs, present)
        # What a combination leaves out is left out on every rank, so that no
        # branch runs for the others' sake.
        held = dict(present)
        known: Dict[str, Features] = {}
        if self._session is not None:
            known = self._session.next_call(inputs)
            for name in self.layout.names:
                if name not in self._session.names:
                    present[name] = [False] * len(x)
                    held[name] = [True] * len(x)
        self._check_presence(present)
        features: Dict[str, Optional[Features]] = {}
        with self._joined(held, x) as joined:
            for name in self.layout.names:
                if not any(present[name]):
                    features[name] = (
                        self._encode(name, inputs[name], present[name])
                        if name in joined else None)
                    continue
                if name not in known:
                    known[name] = self._encode(name, inputs[name],
                                               present[name])
                    if self._session is not None:
                        self._session.keep(name, inputs[name], known[name])
                features[name] = known[name]
        # In evaluation a window may be blank. The zeros of any modality will
        # do.
        if all(f is None for f in features.values()):
            name = self.layout.names[0]
            features[name] = map_levels(
                torch.zeros_like, self.branches[name](inputs[name]))
        zero = self._touching_idle(present) if self.training else None
        if zero is not None:
            name = next(n for n, flags in present.items() if any(flags))
            features[name] = map_levels(lambda f: f + zero.to(f.dtype),
                                        features[name])
        return BranchOutputs(features, inputs, present)

    def _encode(self, name: str, x: Tensor, present: List[bool]) -> Features:
        """Run one branch on the samples that have its modality."""
        branch = self.branches[name]
        if all(present):
            return branch(x)
        # A batch of one is the user's choice and fails as everywhere.
        single = self.training and sum(present) == 1 < len(present)
        with allow_single_values(branch) if single else nullcontext():
            features = branch(gather(x, present))
        return map_levels(lambda f: scatter(f, present), features)
