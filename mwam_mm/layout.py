"""The layout: which modality occupies which channels of the stacked image."""
import dataclasses
from collections.abc import Mapping
from numbers import Real
from typing import (
    Callable,
    Dict,
    Iterable,
    Iterator,
    List,
    Optional,
    Sequence,
    Tuple,
    Union,
)

import torch
from torch import Tensor

__all__ = [
    'Modality', 'ModalityLayout', 'Presence', 'combination_name', 'in_order',
    'is_traced', 'to_device', 'version_of', 'with_presence'
]

# Modality to whether each sample of a batch has it.
Presence = Dict[str, List[bool]]

# Under what name a stacked tensor carries its presence.
_CARRIED = '_mwam_mm_presence'


@dataclasses.dataclass(frozen=True)
class Modality:
    """One modality of a :class:`ModalityLayout`.

    Args:
        name (str): Name of the modality, e.g. ``'depth'``.
        channels (int): Number of channels.
        start (int): First channel in the stacked image.
        mean (tuple[float]): Mean per channel, in the units that
            ``LoadModalities`` delivers (after ``scale``); in RGB order where
            ``bgr_to_rgb`` is set.
        std (tuple[float]): Standard deviation per channel, likewise.
        bgr_to_rgb (bool): Whether the channels are loaded as B, G, R and are
            to be turned round before normalisation.
        path_key (str): Key of the file's path in the data dict.
        file_channels (tuple[int], optional): Channels of the file that hold
            this modality, for files that stack several. None takes all.
        scale (float): Factor applied to the values of the file.
        invalid_value (tuple[float]): Values of the file (before ``scale``)
            that mean "no measurement".
        optional (bool): Whether the file may be missing. A sample without it
            has the modality absent.
    """
    name: str
    channels: int
    start: int
    mean: Tuple[float, ...]
    std: Tuple[float, ...]
    bgr_to_rgb: bool
    path_key: str
    file_channels: Optional[Tuple[int, ...]]
    scale: float
    invalid_value: Tuple[float, ...]
    optional: bool

    @property
    def slice(self) -> slice:
        """slice: The channels of this modality in the stacked image."""
        return slice(self.start, self.start + self.channels)

    @property
    def stack_mean(self) -> Tuple[float, ...]:
        """tuple[float]: Mean per channel in the stacked image's order."""
        return self.mean[::-1] if self.bgr_to_rgb else self.mean

    def is_blank(self, image: Tensor) -> bool:
        """Whether a stacked image holds no measurement of this modality.

        It does not where all its channels are their mean everywhere, which
        is 0 after normalisation: ``LoadModalities`` puts the mean where the
        file says "no measurement", and ``FillWithMean`` where it fills. Where
        the mean is 0 and no ``invalid_value`` is declared, a black image
        looks the same, and is taken for what it is, an image.

        Args:
            image (Tensor): Before normalisation, of shape (C, H, W).

        Returns:
            bool: Whether it holds no measurement.
        """
        if not self.invalid_value and not any(self.mean):
            return False
        image = image[self.slice]
        mean = image.new_tensor(
            self.stack_mean, dtype=torch.float32).view(-1, 1, 1)
        # A few pixels tell most images.
        return not any((part.float() != mean).any()
                       for part in (image[:, ::16, ::16], image))


def _as_tuple(value: Union[None, Real, Sequence[Real]]) -> Tuple[float, ...]:
    if value is None:
        return ()
    if isinstance(value, Real):
        return (float(value), )
    return tuple(float(v) for v in value)


def in_order(names: Iterable[str]) -> Tuple[str, ...]:
    """Put modalities in the order that they have everywhere.

    Args:
        names (Iterable[str]): The modalities' names.

    Returns:
        tuple[str]: ``rgb`` first, if it is among them, then the others by
        name.

    Examples:
        >>> in_order(['thermal', 'rgb', 'depth'])
        ('rgb', 'depth', 'thermal')
    """
    return tuple(sorted(names, key=lambda name: (name != 'rgb', name)))


class ModalityLayout(Mapping):
    """The ordered modalities of a stacked image.

    One mapping in the config names the modalities everywhere: the loading
    transform, the data preprocessor, the backbone and the evaluation are all
    given the same one.

    Args:
        modalities (Mapping[str, Mapping]): Modality name to its fields.
            ``channels`` is required; the other fields are those of
            :class:`Modality`. ``mean`` and ``std`` default to 0
            and 1 (a number counts for every channel); ``path_key`` defaults
            to ``img_path`` for ``rgb`` and to ``{name}_path`` for others.

    Note:
        The order of the mapping does not matter, because MMEngine sorts the
        keys of a config that it dumps. Channels, branches, parameters and
        the names of combinations have the order of :func:`in_order`:
        ``rgb``, then the others by name.

    Raises:
        TypeError: If ``modalities`` is not a mapping of mappings.
        ValueError: If it is empty, or a field is unknown or does not fit.

    Examples:
        >>> layout = ModalityLayout(dict(
        ...     rgb=dict(channels=3, mean=[123.7, 116.3, 103.5],
        ...              std=[58.4, 57.1, 57.4], bgr_to_rgb=True),
        ...     depth=dict(channels=1, mean=3.2, std=1.4, scale=0.001,
        ...                invalid_value=0)))
        >>> layout.names, layout.num_channels
        (('rgb', 'depth'), 4)
        >>> layout['depth'].slice
        slice(3, 4, None)
    """

    def __init__(self, modalities: Mapping) -> None:
        if isinstance(modalities, ModalityLayout):
            self._modalities = dict(modalities)
            return
        if not isinstance(modalities, Mapping):
            raise TypeError('modalities must be a mapping from name to '
                            f'fields, but got {type(modalities).__name__}')
        if not modalities:
            raise ValueError('modalities is empty: name at least one')
        self._modalities: Dict[str, Modality] = {}
        start = 0
        for name in in_order(modalities):
            modality = self._parse(name, modalities[name], start)
            self._modalities[name] = modality
            start += modality.channels

    @staticmethod
    def _parse(name: str, fields: Mapping, start: int) -> Modality:
        where = f'modalities[{name!r}]'
        if not name or name == 'avg' or any(c in name for c in '+/., '):
            raise ValueError(
                f'{where}: a modality name is a non-empty word without '
                '"+", "/", ".", "," or spaces, and not "avg", the average '
                'over combinations')
        if not isinstance(fields, Mapping):
            raise TypeError(f'{where} must be a mapping of fields, but got '
                            f'{type(fields).__name__}')
        known = [f.name for f in dataclasses.fields(Modality)
                 if f.name not in ('name', 'start')]
        unknown = set(fields) - set(known)
        if unknown:
            raise ValueError(f'{where} has unknown fields {sorted(unknown)}; '
                             f'known are {known}')
        channels = fields.get('channels')
        if isinstance(channels, bool) or not isinstance(
                channels, int) or channels < 1:
            raise ValueError(f'{where}.channels must be a positive integer, '
                             f'but got {channels!r}')
        stats = {}
        for key, default in (('mean', 0.), ('std', 1.)):
            value = fields.get(key)
            values = _as_tuple(default if value is None else value)
            if len(values) == 1:
                values = values * channels
            if len(values) != channels:
                raise ValueError(
                    f'{where}.{key} has {len(values)} values for {channels} '
                    'channels')
            stats[key] = values
        if min(stats['std']) <= 0:
            raise ValueError(f'{where}.std must be positive, but got '
                             f'{stats["std"]}')
        bgr_to_rgb = bool(fields.get('bgr_to_rgb', False))
        if bgr_to_rgb and channels != 3:
            raise ValueError(f'{where}.bgr_to_rgb needs 3 channels, but '
                             f'channels={channels}')
        scale = float(fields.get('scale', 1.))
        if scale == 0:
            raise ValueError(f'{where}.scale must not be 0')
        file_channels = fields.get('file_channels')
        if file_channels is not None:
            file_channels = tuple(file_channels)
            if len(file_channels) != channels:
                raise ValueError(
                    f'{where}.file_channels names {len(file_channels)} '
                    f'channels, but channels={channels}')
        return Modality(
            name=name,
            channels=channels,
            start=start,
            mean=stats['mean'],
            std=stats['std'],
            bgr_to_rgb=bgr_to_rgb,
            path_key=fields.get(
                'path_key', 'img_path' if name == 'rgb' else f'{name}_path'),
            file_channels=file_channels,
            scale=scale,
            invalid_value=_as_tuple(fields.get('invalid_value')),
            optional=bool(fields.get('optional', False)))

    @property
    def names(self) -> Tuple[str, ...]:
        """tuple[str]: The modalities' names in channel order."""
        return tuple(self._modalities)

    @property
    def num_channels(self) -> int:
        """int: Number of channels of the stacked image."""
        return sum(m.channels for m in self._modalities.values())

    def check_names(self, names: Sequence[str], where: str) -> Tuple[str, ...]:
        """Check that ``names`` are modalities and return them in our order.

        Args:
            names (Sequence[str]): Names to check.
            where (str): What named them, for the error message.

        Raises:
            ValueError: If a name is not a modality of this layout.
        """
        unknown = [name for name in names if name not in self._modalities]
        if unknown:
            raise ValueError(f'{where} names {unknown}, but the modalities '
                             f'are {list(self.names)}')
        return tuple(name for name in self.names if name in names)

    def presence(self, x: Tensor) -> Presence:
        """Which modalities each sample of a stacked tensor has.

        A tensor of our data preprocessors carries the answer, see
        :func:`with_presence`, and so do its windows in slide inference; there
        the device is waited for only if a window may lie in a hole, that is
        for modalities with an ``invalid_value``. With any other tensor,
        a sample lacks a modality exactly where all its channels are 0.

        A graph that is traced (:func:`is_traced`) is the same for all values,
        so there only what the tensor carries counts: without that, every
        modality is there.

        Args:
            x (Tensor): Normalised stacked tensor of shape (B, C, H, W).

        Returns:
            dict[str, list[bool]]: Modality to one bool per sample.

        Raises:
            ValueError: If the number of channels is not the layout's.
        """
        modalities = self._modalities
        if x.size(1) != self.num_channels:
            raise ValueError(
                f'the input has {x.size(1)} channels, but the layout '
                f'{self} has {self.num_channels}')
        carried, is_window = _carried_presence(x)
        unsure: Sequence[str] = ()
        if carried is None or carried.keys() != modalities.keys():
            carried = {n: [True] * len(x) for n in modalities}
            unsure = self.names
        elif is_window:
            unsure = [
                name for name, modality in modalities.items()
                if modality.invalid_value and any(carried[name])
            ]
        presence = {name: list(carried[name]) for name in modalities}
        if unsure and not is_traced():
            # Stacked, so that the device is waited for once.
            flags = torch.stack(
                [x[:, self[name].slice].flatten(1).any(1) for name in unsure])
            for name, holds in zip(unsure, flags.tolist()):
                presence[name] = [
                    p and h for p, h in zip(presence[name], holds)
                ]
        return presence

    def masked(self, x: Tensor, present: Presence) -> Tensor:
        """A copy of a stacked tensor that holds what is present only.

        Args:
            x (Tensor): Normalised stacked tensor of shape (B, C, H, W).
            present (dict[str, list[bool]]): Which modalities each of the B
                samples keeps.

        Returns:
            Tensor: With 0 in the channels of the others. It carries
            ``present``, see :func:`with_presence`.
        """
        x = x.clone()
        for name, flags in present.items():
            if not all(flags):
                lost = to_device([not flag for flag in flags], x)
                x[:, self[name].slice].masked_fill_(
                    lost.view(-1, 1, 1, 1), 0)
        return with_presence(x, present)

    def is_blank(self, image: Tensor, names: Iterable[str]) -> bool:
        """Whether a stacked image holds nothing of any of the modalities.

        Args:
            image (Tensor): Before normalisation, of shape (C, H, W).
            names (Iterable[str]): The modalities' names.

        Returns:
            bool: Whether all of them are :meth:`Modality.is_blank`.
        """
        return all(self[name].is_blank(image) for name in names)

    def map(self, change: Callable[[Modality],
                                   Modality]) -> 'ModalityLayout':
        """The layout with every modality changed.

        Args:
            change (Callable): From a :class:`Modality` to one of the same
                name and channels.

        Returns:
            ModalityLayout: A layout of its own.
        """
        changed = ModalityLayout(self)
        changed._modalities = {n: change(m) for n, m in self.items()}
        return changed

    def combinations(self) -> List[Tuple[str, ...]]:
        """All non-empty subsets, the complete one first, single ones last."""
        names = self.names
        subsets = [
            tuple(n for i, n in enumerate(names) if bits >> i & 1)
            for bits in range(1, 2**len(names))
        ]
        return sorted(
            subsets, key=lambda s: (-len(s), [names.index(n) for n in s]))

    def __getitem__(self, name: str) -> Modality:
        return self._modalities[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._modalities)

    def __len__(self) -> int:
        return len(self._modalities)

    def __repr__(self) -> str:
        inner = ', '.join(f'{m.name}:{m.channels}'
                          for m in self._modalities.values())
        return f'{self.__class__.__name__}({inner})'


def with_presence(x: Tensor, presence: Mapping) -> Tensor:
    """Let a stacked tensor carry which modalities its samples have.

    What the data preprocessor knows on the CPU need not be asked of the
    device again: :meth:`ModalityLayout.presence` finds it on the tensor. It
    is lost where another tensor is made of this one, and no longer counts
    once the tensor is changed in place; then the zeros are looked at. Tensors
    of ``torch.inference_mode`` do not tell changes, so there it counts always.

    Args:
        x (Tensor): Normalised stacked tensor of shape (B, C, H, W).
        presence (Mapping[str, Sequence[bool]]): Modality to whether each of
            the B samples has it.

    Returns:
        Tensor: ``x`` itself.
    """
    setattr(x, _CARRIED,
            ({name: tuple(flags) for name, flags in presence.items()},
             version_of(x)))
    return x


def is_traced() -> bool:
    """Whether a graph is being made that is to serve other values as well.

    It is by ``torch.jit.trace``, on which the counting of FLOPs and the older
    export to ONNX stand, and by ``torch.export``. ``torch.compile`` makes
    several graphs and looks at the values in between.

    Returns:
        bool: Whether it is.
    """
    if torch.jit.is_tracing():
        return True
    # Not in PyTorch before 2.7.
    compiler = getattr(torch, 'compiler', None)
    return hasattr(compiler, 'is_exporting') and compiler.is_exporting()


def _carried_presence(x: Tensor) -> Tuple[Optional[Mapping], bool]:
    """What a tensor carries, or the one of which it is a window.

    Returns:
        tuple: Modality to one bool per sample, or None, and whether ``x`` is
        a window.
    """
    base = x._base
    for whole in (x, base):
        carried, version = getattr(whole, _CARRIED, (None, None))
        if carried is None or version != version_of(whole):
            continue
        if whole is base and not _is_window(x, base):
            continue
        return carried, x.shape != whole.shape
    return None, False


def _is_window(x: Tensor, whole: Tensor) -> bool:
    """Whether a view has the same samples and channels, in their order."""
    return (x.ndim == whole.ndim and x.shape[:2] == whole.shape[:2]
            and x.stride() == whole.stride() and x.dtype == whole.dtype
            and x.storage_offset() - whole.storage_offset() < whole.stride(0))


def version_of(x: Tensor) -> Optional[int]:
    """A number that grows whenever a tensor is changed in place.

    Args:
        x (Tensor): Any tensor.

    Returns:
        int | None: The number; None of a tensor of ``torch.inference_mode``,
        which does not tell.
    """
    return None if x.is_inference() else x._version


def to_device(values: Sequence, like: Tensor,
              dtype: Optional[torch.dtype] = None) -> Tensor:
    """A tensor of Python numbers on the device of another.

    Unlike ``like.new_tensor(values)`` it does not wait for a GPU.

    Args:
        values (Sequence): Numbers, or nested lists of them.
        like (Tensor): Gives the device.
        dtype (torch.dtype, optional): Data type. Defaults to None, that of
            the numbers.

    Returns:
        Tensor: The numbers, of the shape of ``values``.
    """
    tensor = torch.tensor(values, dtype=dtype, pin_memory=like.is_cuda)
    return tensor.to(like.device, non_blocking=True)


def combination_name(names: Sequence[str]) -> str:
    """Name of a modality combination, e.g. ``'rgb+depth'``."""
    return '+'.join(names)
