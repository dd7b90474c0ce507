"""The signal of any model, by the paths of its modules."""
from typing import (
    Any,
    Callable,
    Dict,
    List,
    Mapping,
    Optional,
    Sequence,
    Set,
    Union,
)

from torch import Tensor, nn

from mwam_mm.layout import in_order

from .base import (
    AtEnd,
    AtFeatures,
    Listener,
    Probe,
    tensors_in,
    untraced,
)

__all__ = ['PathProbe', 'branch_paths']


class PathProbe(Probe):
    """The signal of any model, by the paths of its modules.

    Args:
        model (nn.Module): The model, without wrapper.
        branches (Mapping[str, Sequence[str]]): Modality to the paths of the
            modules whose parameters are its branch.
        inputs (Mapping[str, str]): Modality to the path of the module that
            its image of shape (B, C, H, W) enters as the only argument of
            that shape, or its clip of shape (B, C, T, H, W), whose frames
            count as channels. Without an entry it is the branch's first path.
        where (str): What named the paths, for the error messages.
        needs_images (bool): Whether an image that is not found is an error.
            Defaults to True.

    Raises:
        ValueError: If a path matches no module or no parameter, or two
            modalities share a parameter.
    """

    def __init__(self, model: nn.Module, branches: Mapping[str, Sequence[str]],
                 inputs: Mapping[str, str], where: str,
                 needs_images: bool = True) -> None:
        super().__init__(model, list(branches))
        self._where = where
        self._needs_images = needs_images
        owner: Dict[Tensor, str] = {}
        self._entrances: Dict[str, nn.Module] = {}
        self._paths: Dict[str, str] = {}
        for name, paths in branches.items():
            parameters = {
                p: None  # a dict keeps the order and drops duplicates
                for path in paths
                for p in self._module(path, name, 'branches').parameters()
            }
            if not parameters:
                raise ValueError(f'the branch of modality "{name}", '
                                 f'{list(paths)}, has no parameter')
            for p in parameters:
                if p in owner and p.requires_grad:
                    raise ValueError(
                        f'modalities "{owner[p]}" and "{name}" share a '
                        'parameter: name disjoint modules in '
                        f'{where}.branches')
                owner[p] = name
            self.branches[name] = list(parameters)
            self.modules[name] = [
                self._module(path, name, 'branches') for path in paths
            ]
            path = inputs.get(name, paths[0])
            key = 'inputs' if name in inputs else 'branches'
            entrance = self._module(path, name, key)
            if isinstance(entrance, (nn.ModuleList, nn.ModuleDict)):
                self._not_found(
                    f'modality "{name}": {path} is a container that is never '
                    'called: name the module that the image enters in '
                    f'{where}.inputs[{name!r}]')
            self._entrances[name], self._paths[name] = entrance, path

    def _module(self, path: str, name: str, key: str) -> nn.Module:
        try:
            return self.model.get_submodule(path)
        except AttributeError as e:
            children = [n for n, _ in self.model.named_children()]
            raise ValueError(
                f'{self._where}.{key}: modality "{name}" names "{path}", '
                f'which is no module of {type(self.model).__name__} ({e}); '
                f'its children are {children}') from None

    def entrances(self) -> Set[nn.Module]:
        return set(self._entrances.values())

    def attach(self, at_features: AtFeatures, at_fusion: AtFeatures,
               at_end: AtEnd) -> None:
        super().attach(at_features, at_fusion, at_end)
        self._handles += [
            entrance.register_forward_pre_hook(
                Listener(self._hook(name)), with_kwargs=True)
            for name, entrance in self._entrances.items()
        ]

    def _hook(self, name: str) -> Callable:
        enter = untraced(self._enter)

        def hook(module: nn.Module, args: tuple, kwargs: dict) -> None:
            # There is none when activation checkpointing runs the branch
            # again.
            if self._signal is not None:
                image = self._find_image(name, args, kwargs)
                if image is not None:
                    enter(name, image)

        return hook

    def _not_found(self, text: str) -> None:
        if self._needs_images:
            raise ValueError(text)

    def _find_image(self, name: str, args: tuple,
                    kwargs: dict) -> Optional[Tensor]:
        arguments = [*args, *kwargs.values()]
        images: List[Tensor] = []
        for is_one in (_is_image, _is_clip):
            images = images or [x for x in arguments if is_one(x)]
            if not images:  # or the only one within dicts and lists
                images = [x for x in tensors_in(arguments) if is_one(x)]
        if len(images) != 1:
            return self._not_found(
                f'modality "{name}": {self._paths[name]} is called with '
                f'{len(images)} tensors of shape (B, C, H, W) where the image '
                'of the modality should be found: name the module that it '
                f'enters in {self._where}.inputs[{name!r}]')
        found = images[0]
        for other, image, _ in self._signal.entered:
            if other != name and (image is found or (
                    _is_clip(found) and image.data_ptr() == found.data_ptr())):
                return self._not_found(
                    f'modalities "{other}" and "{name}" enter with the same '
                    'tensor, so their images cannot be told apart: name '
                    'modules that only the one image enters in '
                    f'{self._where}.inputs. In a model without such modules, '
                    'pass each image through an nn.Identity() of its own')
        return found.flatten(1, 2) if _is_clip(found) else found


def _is_image(x: Any) -> bool:
    return isinstance(x, Tensor) and x.ndim == 4


def _is_clip(x: Any) -> bool:
    return isinstance(x, Tensor) and x.ndim == 5


def branch_paths(
        branches: Mapping[str, Union[str, Sequence[str]]]
) -> Dict[str, List[str]]:
    """The paths of each branch as a list, in the order of the modalities.

    Args:
        branches (Mapping[str, str | Sequence[str]]): Modality to the path or
            paths of its branch.
    """
    return {
        name: [branches[name]]
        if isinstance(branches[name], str) else list(branches[name])
        for name in in_order(branches)
    }
