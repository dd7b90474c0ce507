"""Where the signal of a training forward comes from."""
import inspect
from typing import (
    Any,
    Callable,
    Dict,
    Iterator,
    List,
    Mapping,
    Optional,
    Sequence,
    Set,
)

import torch
from mmengine.utils import apply_to
from torch import Tensor, nn

from mwam_mm.models import MultiModalBackbone, MWAMNeck
from mwam_mm.models.backbones import BranchOutputs
from mwam_mm.models.subsets import Host, find_host

from .signal import Signal

__all__ = ['NeckProbe', 'PathProbe', 'Probe', 'check_recomputed']

AtFeatures = Callable[[Signal, BranchOutputs], BranchOutputs]
AtEnd = Callable[[Signal, Any], Any]


class _Listener:
    """A function that a module of the model calls.

    A copy of the model, also a pickled one, calls nothing: it is another
    model, which nobody looks after.
    """

    def __init__(self, function: Optional[Callable] = None) -> None:
        self.function = function

    def __call__(self, *args, **kwargs) -> Any:
        if self.function is not None:
            return self.function(*args, **kwargs)

    def __deepcopy__(self, memo: dict) -> '_Listener':
        return _Listener()

    def __reduce__(self) -> tuple:
        return _Listener, ()


class Probe:
    """Makes the signal of every training forward of a model.

    Args:
        model (nn.Module): The model, without wrapper.
        modalities (Sequence[str]): The modalities' names, in the order of K.
    """

    #: Whether interventions can act on the features of the modalities.
    gives_features = False
    #: Runs neck and heads on features that are there, if the model can.
    host: Optional[Host] = None

    def __init__(self, model: nn.Module, modalities: Sequence[str]) -> None:
        self.model = model
        self.modalities = tuple(modalities)
        #: Modality to the parameters of its branch.
        self.branches: Dict[str, List[nn.Parameter]] = {}
        self._signal: Optional[Signal] = None
        self._handles: List[Any] = []

    def entrances(self) -> Set[nn.Module]:
        """The modules that the images enter."""
        raise NotImplementedError

    def attach(self, at_features: AtFeatures, at_end: AtEnd) -> None:
        """Start making signals.

        Args:
            at_features (Callable): Called with the signal and what the
                branches gave, before it is fused; returns what is fused.
            at_end (Callable): Called with the signal and what the model's
                forward returns; returns what it returns instead.
        """
        self._at_features = at_features
        self._at_end = at_end
        self._handles += [
            self.model.register_forward_pre_hook(
                _Listener(self._begin), with_kwargs=True),
            self.model.register_forward_hook(_Listener(self._end))
        ]

    def detach(self) -> None:
        """Leave the model as it was."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def _begin(self, model: nn.Module, args: tuple, kwargs: dict) -> None:
        self._signal = None
        if not (model.training and torch.is_grad_enabled()):
            return
        device = next(model.parameters()).device
        self._signal = Signal(
            self.modalities,
            torch.ones(len(self.modalities), device=device),
            host=self.host,
            arguments=_by_name(type(model).forward, model, args, kwargs))

    def _end(self, model: nn.Module, args: tuple, output: Any) -> Any:
        # Every rank reaches the end of the forward, so what the weigher
        # reduces over the ranks meets its counterparts there, before
        # backward starts to reduce gradients.
        signal, self._signal = self._signal, None
        return output if signal is None else self._at_end(signal, output)


def _by_name(function: Callable, model: nn.Module, args: tuple,
             kwargs: dict) -> Dict[str, Any]:
    try:
        bound = inspect.signature(function).bind(model, *args, **kwargs)
    except TypeError:  # the call itself fails as well, with a better error
        return {}
    bound.apply_defaults()
    return dict(bound.arguments)


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
                self.branches[name] = list(branch.parameters())

    def _backbones(self) -> Iterator[MultiModalBackbone]:
        return (m for m in self.model.modules()
                if isinstance(m, MultiModalBackbone))

    def entrances(self) -> Set[nn.Module]:
        branches = (branch for backbone in self._backbones()
                    for branch in backbone.branches.values())
        return {self.neck, *branches}

    def attach(self, at_features: AtFeatures, at_end: AtEnd) -> None:
        super().attach(at_features, at_end)
        self._listener = _Listener(_untraced(self._fuse))
        self.neck.listeners.append(self._listener)

    def detach(self) -> None:
        super().detach()
        self.neck.listeners.remove(self._listener)

    def _fuse(self, outputs: BranchOutputs) -> BranchOutputs:
        signal = self._signal
        if signal is None or self.host is not None and self.host.running:
            return outputs
        signal.entered += outputs.inputs.items()
        signal.present = outputs.present
        signal.outputs = self._at_features(signal, outputs)
        return signal.outputs


class PathProbe(Probe):
    """The signal of any model, by the paths of its modules.

    Args:
        model (nn.Module): The model, without wrapper.
        branches (Mapping[str, Sequence[str]]): Modality to the paths of the
            modules whose parameters are its branch.
        inputs (Mapping[str, str]): Modality to the path of the module that
            its image of shape (B, C, H, W) enters as the only argument of
            that shape. Without an entry it is the branch's first path.
        where (str): What named the paths, for the error messages.

    Raises:
        ValueError: If a path matches no module or no parameter, or two
            modalities share a parameter.
    """

    def __init__(self,
                 model: nn.Module,
                 branches: Mapping[str, Sequence[str]],
                 inputs: Mapping[str, str],
                 where: str = 'MWAMHook') -> None:
        super().__init__(model, list(branches))
        self._where = where
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
            path = inputs.get(name, paths[0])
            key = 'inputs' if name in inputs else 'branches'
            entrance = self._module(path, name, key)
            if isinstance(entrance, (nn.ModuleList, nn.ModuleDict)):
                raise ValueError(
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

    def attach(self, at_features: AtFeatures, at_end: AtEnd) -> None:
        super().attach(at_features, at_end)
        self._handles += [
            entrance.register_forward_pre_hook(
                _Listener(self._enter(name)), with_kwargs=True)
            for name, entrance in self._entrances.items()
        ]

    def _enter(self, name: str) -> Callable:

        def hook(module: nn.Module, args: tuple, kwargs: dict) -> None:
            # None when activation checkpointing runs the branch again.
            if self._signal is not None:
                image = self._find_image(name, args, kwargs)
                self._signal.entered.append((name, image))

        return hook

    def _find_image(self, name: str, args: tuple, kwargs: dict) -> Tensor:
        arguments = [*args, *kwargs.values()]
        images = [x for x in arguments if _is_image(x)]
        if not images:  # or the only one within dicts and lists
            apply_to(arguments, _is_image, images.append)
        if len(images) != 1:
            raise ValueError(
                f'modality "{name}": {self._paths[name]} is called with '
                f'{len(images)} tensors of shape (B, C, H, W) where the image '
                'of the modality should be found: name the module that it '
                f'enters in {self._where}.inputs[{name!r}]')
        for other, image in self._signal.entered:
            if image is images[0] and other != name:
                raise ValueError(
                    f'modalities "{other}" and "{name}" enter with the same '
                    'tensor, so their images cannot be told apart: name '
                    'modules that only the one image enters in '
                    f'{self._where}.inputs. In a model without such modules, '
                    'pass each image through an nn.Identity() of its own')
        return images[0]


def _is_image(x: Any) -> bool:
    return isinstance(x, Tensor) and x.ndim == 4


def _untraced(function: Callable) -> Callable:
    """Keep torch.compile from following a function."""
    try:
        return torch.compiler.disable(function)
    except AttributeError:  # PyTorch 2.0
        return torch._dynamo.disable(function)


def check_recomputed(probe: Probe, paths: Any) -> None:
    """Refuse activation checkpointing of what the images enter.

    MMEngine's is of the reentrant kind: a module whose arguments need no
    gradient, as an image does not, is not trained at all.

    Args:
        probe (Probe): Knows the modules that the images enter.
        paths (str | list[str], optional): ``cfg.activation_checkpointing``.

    Raises:
        ValueError: If one of the paths holds such a module.
    """
    for path in [paths] if isinstance(paths, str) else paths or []:
        module = probe.model.get_submodule(path)
        if probe.entrances().intersection(module.modules()):
            raise ValueError(
                f'activation_checkpointing names "{path}", which would '
                'keep what the image enters from being trained, or count '
                'a batch twice in MWAMNeck: name modules inside the '
                'branches, such as "backbone.branches.rgb.layer1"')
