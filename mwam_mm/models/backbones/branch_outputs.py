"""What the branches give: features of each modality, at several levels."""
from typing import Any, Callable, Dict, Iterable, List, NamedTuple, Optional

from mmengine.utils import apply_to
from torch import Tensor

from mwam_mm.layout import Presence

# A tensor per level, nested as the branch returned them: mostly a tuple.
Features = Any


def map_levels(function: Callable[[Tensor], Tensor],
               features: Features) -> Features:
    """Apply a function to every level and keep how they are nested."""
    # apply_to takes longer for a flat tuple than some layers do on a GPU.
    if isinstance(features, Tensor):
        return function(features)
    if type(features) in (tuple, list):
        return type(features)([
            function(f) if isinstance(f, Tensor) else map_levels(function, f)
            for f in features
        ])
    return apply_to(features, lambda x: isinstance(x, Tensor), function)


def _is_flat(features: Features) -> bool:
    """Whether these are a plain tuple or list of tensors, as mostly."""
    return type(features) in (tuple, list) and all(
        [isinstance(f, Tensor) for f in features])


def flatten_levels(features: Features) -> List[Tensor]:
    """The levels as a flat list."""
    if _is_flat(features):
        return list(features)
    levels: List[Tensor] = []
    map_levels(levels.append, features)
    return levels


def nest_levels(levels: Iterable[Tensor], like: Features) -> Features:
    """Levels of a flat list, nested as others are."""
    if _is_flat(like):
        return type(like)(levels)
    remaining = iter(levels)
    return map_levels(lambda _: next(remaining), like)


class BranchOutputs(NamedTuple):
    """What :class:`MultiModalBackbone` hands to :class:`MWAMNeck`.

    Args:
        features (dict[str, Any]): Modality to its features, a tensor of
            shape (B, C_l, H_l, W_l) per level, exactly 0 for the samples that
            lack the modality. Mostly a tuple of them; in general nested as
            the branch returned them. None where no sample has the modality.
        inputs (dict[str, Tensor]): Modality to its normalised input of shape
            (B, C_m, H, W).
        present (dict[str, list[bool]]): Modality to whether each of the B
            samples has it.
    """
    features: Dict[str, Optional[Features]]
    inputs: Dict[str, Tensor]
    present: Presence

    def map(self, function: Callable[[str, Tensor],
                                     Tensor]) -> 'BranchOutputs':
        """Apply a function to the features.

        Args:
            function (Callable): Takes a modality's name and its features at
                one level, of shape (B, C_l, H_l, W_l); returns others.

        Returns:
            BranchOutputs: With these features.
        """
        return self._replace(features={
            name: None if f is None else map_levels(
                lambda x: function(name, x), f)
            for name, f in self.features.items()
        })
