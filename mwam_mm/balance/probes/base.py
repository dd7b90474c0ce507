"""What all probes share."""
import inspect
from typing import (
    Any,
    Callable,
    Dict,
    List,
    Mapping,
    Optional,
    Sequence,
    Set,
)

import torch
from torch import Tensor, nn

from mwam_mm.models.backbones import BranchOutputs
from mwam_mm.models.host import Host

from ..signal import Signal

__all__ = ['Listener', 'Probe', 'tensors_in', 'untraced']

AtFeatures = Callable[[Signal, BranchOutputs], BranchOutputs]
AtEnd = Callable[[Signal, Any], Any]


class Listener:
    """A function that a module of the model calls.

    A copy of the model, also a pickled one, calls nothing: it is another
    model, which nobody looks after.
    """

    def __init__(self, function: Optional[Callable] = None) -> None:
        self.function = function

    def __call__(self, *args, **kwargs) -> Any:
        if self.function is not None:
            return self.function(*args, **kwargs)

    def __deepcopy__(self, memo: dict) -> 'Listener':
        return Listener()

    def __reduce__(self) -> tuple:
        return Listener, ()


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
        #: Modality to the modules that its branch consists of.
        self.modules: Dict[str, List[nn.Module]] = {}
        self._signal: Optional[Signal] = None
        #: How many forwards of the model are under way, one in another.
        self._depth = 0
        self._versions: List[int] = []
        self._handles: List[Any] = []

    def require_host(self, where: str, instead: str) -> None:
        """Refuse a model whose neck and heads cannot run on the features of
        some of the modalities.

        Args:
            where (str): What runs them, for the error message.
            instead (str): What to use with such a model, likewise.

        Raises:
            ValueError: If the model is one.
        """
        if self.host is None or self.host.neck is None:
            raise ValueError(
                f"{where} runs the model's own neck and heads on the features "
                'of some of the modalities, which needs one '
                'mwam_mm.MultiModalBackbone and one mwam_mm.MWAMNeck: build '
                'the model with them and leave out branches, or use '
                f'{instead}')

    def entrances(self) -> Set[nn.Module]:
        """The modules that the images enter."""
        raise NotImplementedError

    def attach(self, at_features: AtFeatures, at_fusion: AtFeatures,
               at_end: AtEnd) -> None:
        """Start making signals.

        Args:
            at_features (Callable): Called with the signal and what the
                branches gave, before it is fused; returns what all losses
                are made of.
            at_fusion (Callable): Called with the signal and what that
                returned; returns what the model's own losses are made of.
            at_end (Callable): Called with the signal and what the model's
                forward returns; returns what it returns instead.
        """
        self._at_features = at_features
        self._at_fusion = at_fusion
        self._at_end = at_end
        self._handles += [
            self.model.register_forward_pre_hook(
                Listener(self._begin), with_kwargs=True),
            self.model.register_forward_hook(Listener(self._end)),
            # Called after an error, too, with which a forward may end.
            self.model.register_forward_hook(
                Listener(self._leave), always_call=True)
        ]

    def detach(self) -> None:
        """Leave the model as it was."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._depth = 0
        self._forget()

    def _forget(self) -> Optional[Signal]:
        """End a forward, also one that an error ended."""
        signal, self._signal = self._signal, None
        if signal is not None and signal.joined is not None:
            signal.joined.close()
        return signal

    def _begin(self, model: nn.Module, args: tuple, kwargs: dict) -> None:
        self._depth += 1
        if self._depth > 1:  # the model calls itself
            return
        self._forget()
        self._versions = []
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
        signal = self._forget() if self._depth == 1 else None
        if signal is None:
            return output
        for (name, image, _), version in zip(signal.entered,
                                             self._versions):
            if image._version != version:
                raise ValueError(
                    f'the image of modality "{name}" was changed in place '
                    'after it had entered its branch, so that the weigher '
                    'would measure something else: let the model change a '
                    'copy of it')
        return self._at_end(signal, output)

    def _leave(self, *_) -> None:
        self._depth = max(self._depth - 1, 0)

    def _enter(self,
               name: str,
               image: Tensor,
               present: Optional[List[bool]] = None) -> None:
        """Note that an image enters a branch."""
        self._signal.entered.append((name, image, present))
        self._versions.append(image._version)


def _by_name(function: Callable, model: nn.Module, args: tuple,
             kwargs: dict) -> Dict[str, Any]:
    try:
        bound = inspect.signature(function).bind(model, *args, **kwargs)
    except TypeError:  # the call itself fails as well, with a better error
        return {}
    bound.apply_defaults()
    return dict(bound.arguments)


def tensors_in(data: Any) -> List[Tensor]:
    """All tensors in mappings, lists and tuples, which may be of any class.

    Args:
        data (Any): What a module takes or returns.

    Returns:
        list[Tensor]: The tensors, those of nested containers included.
    """
    if isinstance(data, Tensor):
        return [data]
    if isinstance(data, Mapping):
        data = list(data.values())
    if not isinstance(data, (list, tuple)):
        return []
    return [x for part in data for x in tensors_in(part)]


def untraced(function: Callable) -> Callable:
    """Keep torch.compile from following a function."""
    try:
        return torch.compiler.disable(function)
    except AttributeError:  # PyTorch 2.0
        return torch._dynamo.disable(function)
