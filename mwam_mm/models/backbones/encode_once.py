"""Features that predictions for several combinations share."""
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from torch import Tensor

from mwam_mm.layout import ModalityLayout, version_of

from .branch_outputs import Features, flatten_levels


class EncodeOnce:
    """Features shared between predictions for several combinations.

    Made by :meth:`MultiModalBackbone.encode_once`.
    """

    def __init__(self, layout: ModalityLayout) -> None:
        self._layout = layout
        self._cache: List[Dict[str, Tuple[Tensor, Any, Features,
                                          List[Any]]]] = []
        self._call = 0
        self._images: Optional[Tensor] = None
        self._version: Optional[int] = None
        self._changed: Sequence[str] = ()
        self.names = layout.names

    def select(self,
               names: Sequence[str],
               images: Tensor,
               changed: Sequence[str] = ()) -> None:
        """Start the prediction for a combination.

        Args:
            names (Sequence[str]): Its modalities.
            images (Tensor): What the model is going to be called with, a
                stacked tensor of shape (B, C, H, W). In the modalities of
                several combinations it is the same for them.
            changed (Sequence[str]): The modalities of which the inputs differ
                in this prediction from those of the others. They are encoded
                anew, and what that gives is not kept. Defaults to ().
        """
        self.names = self._layout.check_names(names, 'combination')
        self._changed = changed
        self._call = 0
        self._images, self._version = images, version_of(images)

    def next_call(self, inputs: Mapping[str, Tensor]) -> Dict[str, Features]:
        """Features known for this call of the backbone.

        One prediction may call the backbone several times (slide inference);
        the calls come in the same order for every combination. Where they are
        for other images, as those of a model are that looks again where its
        first prediction tells, nothing is known. Neither are features that a
        fusion or a head has changed in place since.

        Args:
            inputs (dict[str, Tensor]): Modality to what its branch would get.
        """
        if self._call == len(self._cache):
            self._cache.append({})
        self._call += 1
        known = self._cache[self._call - 1]
        return {
            name: features
            for name, (image, place, features, versions) in known.items()
            if name in self.names and name not in self._changed
            and versions == _versions(features)
            and (place is not None and place == self._place(inputs[name])
                 or _same(image, inputs[name]))
        }

    def keep(self, name: str, image: Tensor, features: Features) -> None:
        """Keep what this call of the backbone has encoded.

        Args:
            name (str): The modality.
            image (Tensor): What its branch got.
            features (Features): What its branch gave.
        """
        if name not in self._changed:
            self._cache[self._call - 1][name] = (image, self._place(image),
                                                 features, _versions(features))

    def _place(self, image: Tensor) -> Any:
        """Where in the model's images one lies, None if it does not.

        At the same place it is the same for all combinations, which then need
        not be compared: that would wait for a GPU.
        """
        if image._base is not self._images or version_of(
                image) != self._version:
            return None
        return image.storage_offset(), image.shape, image.stride()


def _same(a: Tensor, b: Tensor) -> bool:
    """Whether two images are the same, NaN included."""
    return a.shape == b.shape and bool(
        ((a == b) | (a.isnan() & b.isnan())).all())


def _versions(features: Features) -> List[Any]:
    return [version_of(x) for x in flatten_levels(features)]
