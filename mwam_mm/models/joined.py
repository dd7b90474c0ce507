"""A training forward whose neck and heads see subsets of the modalities, too.
"""
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import count
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Sequence

import torch
from mmengine.dist import is_distributed
from mmengine.utils import apply_to
from torch import Tensor, nn

from mwam_mm.attributes import replaced_attribute
from mwam_mm.layout import Presence

from .backbones import BranchOutputs, flatten_levels, nest_levels
from .host import Host, heads_of, normalises
from .subsets import own_labels, restrict, rows_with, take_images, take_rows

__all__ = ['Group', 'JoinedForward', 'splittable_heads']

# The `loss` of these classes hands what the neck gives to the heads, runs each
# head once on all samples, and hands what it gives to `loss_by_feat`
# (`_get_loss` in MMPretrain), sample by sample. Each method is listed with the
# stock classes that define it.
_PACKAGES = ('mmseg', 'mmdet', 'mmpretrain')
_MODELS = dict.fromkeys(
    ('loss', 'extract_feat'),
    ('EncoderDecoder', 'SingleStageDetector', 'ImageClassifier'))
_MODELS.update(
    _decode_head_forward_train=('EncoderDecoder', 'CascadeEncoderDecoder'),
    _auxiliary_head_forward_train=('EncoderDecoder', ))
_HEADS = dict(loss=('BaseDecodeHead', 'BaseCascadeDecodeHead',
                    'BaseDenseHead', 'ClsHead'))


class Group(NamedTuple):
    """A subset of the modalities within a joined batch.

    Args:
        rows (list[int]): Which of the B samples it has.
        places (list[int]): Where these are in the joined batch.
        idle (bool): Whether no sample of this rank has any of the
            modalities. Its losses are then of a sample that stands in, so
            that the ranks' collective calls meet, and count nothing.
    """
    rows: List[int]
    places: List[int]
    idle: bool


def splittable_heads(model: nn.Module) -> List[nn.Module]:
    """The heads of a model that can run once on a joined batch.

    Args:
        model (nn.Module): A model of OpenMMLab.

    Returns:
        list[nn.Module]: All its heads, if each gives losses that can be split
        by sample: segmentors, one-stage detectors and classifiers with the
        stock ``loss``, and stock methods on the way to it. Otherwise none.
    """
    heads = heads_of(model)
    stock = _is_stock(model, _MODELS) and all(
        _is_stock(head, _HEADS) for head in heads)
    return heads if stock else []


def _is_stock(module: nn.Module, methods: Dict[str, Sequence[str]]) -> bool:
    """Whether a module has a loss, and no method of its own in the place of a
    stock one."""
    found = {name: getattr(type(module), name, None) for name in methods}
    return found['loss'] is not None and all(
        method.__module__.split('.')[0] in _PACKAGES and method.__qualname__ in
        [f'{owner}.{name}' for owner in methods[name]]
        for name, method in found.items() if method is not None)


class JoinedForward:
    """Neck and heads of one training forward, on the batch and on subsets.

    The branches have run once. The complete batch and the rows of all subsets
    are joined, so that the neck, and normalisation layers in it, see all of
    them together. So do the heads where their losses can be split by sample
    (:func:`splittable_heads`): they run once, and each subset's losses are
    those of its rows. Other heads run once for each subset, on its rows of
    what the neck gave.

    The model's own forward gets the losses of the complete batch in either
    case, and does not know of the others.

    Args:
        host (Host): The model.
        complete (BranchOutputs): The features of the B samples, for the
            model's own losses.
        outputs (BranchOutputs): Their features, for the losses of subsets.
        subsets (dict[str, dict[str, list[bool]]]): Name to which modalities
            each of the B samples keeps. A sample that keeps none is left out.
        inputs (Tensor): What the model was called with, shape (B, C, H, W).
        data_samples (Sequence): The B samples, with labels.
    """

    def __init__(self, host: Host, complete: BranchOutputs,
                 outputs: BranchOutputs, subsets: Dict[str, Presence],
                 inputs: Tensor, data_samples: Sequence[Any]) -> None:
        self.host = host
        self.heads = splittable_heads(host.model)
        self.inputs = inputs
        # The model's own heads may change them afterwards.
        self.data_samples = own_labels(data_samples)
        size = len(data_samples)
        self._complete = list(range(size))
        #: dict[str, Group]: Name to subset. One that no sample has is left
        #: out, unless there are other ranks that may have it.
        self.groups: Dict[str, Group] = {}
        rows: List[int] = []
        present: Presence = {name: [] for name in outputs.present}
        for name, kept in subsets.items():
            group = rows_with(kept, kept)
            places = range(size + len(rows), size + len(rows) + len(group))
            if group:
                self.groups[name] = Group(group, list(places), False)
            elif is_distributed():
                self.groups[name] = Group([0], [0], True)
            rows += group
            for modality, flags in present.items():
                flags += [kept[modality][i] for i in group]
        #: BranchOutputs: What is fused: the complete batch, then the subsets.
        self.outputs = _concatenate(
            complete, restrict(outputs, rows, present))
        self._size = size + len(rows)
        #: Any: What the neck gives of the joined batch.
        self.fused: Any = None
        self._calls: Dict[nn.Module, List[Any]] = {h: [] for h in self.heads}
        self._losses: Dict[str, Dict[str, Any]] = {}
        self._open = ExitStack()
        self._open.enter_context(self._splitting(self._complete))

    def after_neck(self, fused: Any) -> Any:
        """Keep what the neck gives; the model goes on with what this returns.
        """
        self.fused = fused
        return self._for_heads(self._complete)

    def close(self) -> None:
        """End the model's own forward."""
        self._open.close()

    def take(self, x: Any, rows: List[int]) -> Any:
        """Rows of the joined batch, in all tensors that are of it."""

        def of_batch(x: Any) -> bool:
            return (isinstance(x, Tensor) and x.ndim > 0
                    and len(x) == self._size)

        return apply_to(x, of_batch, lambda x: take_rows(x, rows))

    def losses(self, name: str) -> Dict[str, Any]:
        """The model's own losses of a subset, with gradient.

        Args:
            name (str): One of ``groups``.

        Returns:
            dict[str, Any]: As the model's ``loss`` returns.
        """
        if name not in self._losses:
            self._losses[name] = self._forward(name, mode='loss')
        return self._losses[name]

    def logits(self, name: str) -> Any:
        """What the model gives of a subset with ``mode='tensor'``, with
        gradient.

        Args:
            name (str): One of ``groups``.

        Returns:
            Any: As the model's ``forward`` returns, for the samples of the
            group.
        """
        group = self.groups[name]
        given = self._forward(name, mode='tensor')
        if self.heads:  # the heads gave the whole joined batch
            return self.take(given, group.places)
        size = len(group.rows)  # a single sample may have run twice
        return apply_to(given, lambda x: isinstance(x, Tensor),
                        lambda x: x[:size])

    def _forward(self, name: str, mode: str) -> Any:
        group = self.groups[name]
        rows, places = group.rows, group.places
        if (not self.heads and len(rows) == 1 < len(self._complete)
                and normalises(*heads_of(self.host.model))):
            # A single sample runs twice, which gives the same loss: norm
            # layers on features that are pooled to 1x1 pixel refuse one.
            rows, places = rows * 2, places * 2
        with self.host.backbone.replay(self.outputs), \
                self.host.neck.replay(self._for_heads(places)), \
                self._splitting(places):
            present = {
                modality: [flags[i] for i in places]
                for modality, flags in self.outputs.present.items()
            }
            return self.host.forward(
                inputs=take_images(self.host.backbone.layout, self.inputs,
                                   rows, present),
                data_samples=[self.data_samples[i] for i in rows],
                mode=mode)

    def predictions(self, head: nn.Module) -> Any:
        """What a head that runs once gave of the joined batch."""
        return self._calls[head][0]

    def _for_heads(self, places: List[int]) -> Any:
        return self.fused if self.heads else self.take(self.fused, places)

    @contextmanager
    def _splitting(self, places: List[int]) -> Iterator[None]:
        """Within it, heads run on the joined batch, the first time, and give
        losses of some of its rows."""
        with ExitStack() as stack:
            for head in self.heads:
                stack.enter_context(
                    replaced_attribute(
                        head, 'forward',
                        _remembered(head.forward, self._calls[head])))
                name = 'loss_by_feat' if hasattr(
                    head, 'loss_by_feat') else '_get_loss'
                stack.enter_context(
                    replaced_attribute(
                        head, name,
                        partial(self._loss_by_feat, getattr(head, name),
                                places)))
            yield

    def _loss_by_feat(self, function: Callable, places: List[int], *args,
                      **kwargs) -> Any:
        return function(*self.take(list(args), places),
                        **self.take(kwargs, places))


def _remembered(function: Callable, calls: List[Any]) -> Callable:
    """A function whose n-th call gives what the n-th call before gave, or
    calls ``function`` where there was none."""
    number = count()

    def call(*args, **kwargs) -> Any:
        i = next(number)
        if i == len(calls):
            calls.append(function(*args, **kwargs))
        return calls[i]

    return call


def _concatenate(a: BranchOutputs, b: BranchOutputs) -> BranchOutputs:
    """The samples of ``a``, then those of ``b``.

    ``b`` has no modality that ``a`` lacks.
    """
    features = {}
    for name, f in a.features.items():
        if f is None:
            features[name] = None
            continue
        levels = flatten_levels(f)
        rest = [x.new_zeros(_rows(b), *x.shape[1:]) for x in levels] \
            if b.features[name] is None else flatten_levels(b.features[name])
        features[name] = nest_levels(map(torch.cat, zip(levels, rest)), f)
    return BranchOutputs(
        features,
        {name: torch.cat([x, b.inputs[name]]) for name, x in a.inputs.items()},
        {name: flags + b.present[name] for name, flags in a.present.items()})


def _rows(outputs: BranchOutputs) -> int:
    return len(next(iter(outputs.inputs.values())))
