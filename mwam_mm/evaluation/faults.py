"""Faults of a sensor that still delivers something.

They change one modality of the normalised stacked tensor, within the image
and not in what it is padded with. What is random depends on the seed and the
place of the sample in the dataset alone, so it is the same for any batch
size, number of processes and device.
"""
import itertools
from typing import (
    Any,
    Callable,
    Dict,
    List,
    Mapping,
    Optional,
    Sequence,
    Tuple,
    Union,
)

import numpy as np
import torch
from mmengine.structures import BaseDataElement
from torch import Tensor
from torch.nn.functional import interpolate

from mwam_mm.layout import Modality, ModalityLayout, with_presence
from mwam_mm.registry import FAULTS

__all__ = [
    'Fault', 'FrozenFrame', 'GaussianNoise', 'MissingElements',
    'SaltAndPepper', 'Shift', 'Stripe', 'build_faults'
]

# Index of a sample in the dataset to its normalised stacked image, of shape
# (C, H, W) without padding, and the modalities that it lacks.
Load = Callable[[int], Tuple[Tensor, Sequence[str]]]


class Fault:
    """Base of the faults.

    Args:
        modality (str): The modality whose sensor is faulty.
        seed (int): Seed of what is random. Rows that differ in another
            argument only draw the same. Defaults to 0.

    Attributes:
        kind (str): What the row's name says of the fault.
    """
    kind: str

    def __init__(self, modality: str, seed: int = 0) -> None:
        self.modality = modality
        self.seed = seed

    @property
    def name(self) -> str:
        """str: Name of the row, such as ``'depth.gaussian_noise_0.1'``."""
        return '_'.join([f'{self.modality}.{self.kind}', *self.degree()])

    def degree(self) -> List[str]:
        """What the row's name says besides the kind."""
        return []

    def prepare(self, load: Load) -> None:
        """Get ready before the first sample.

        Args:
            load (Callable): Loads a sample of the dataset.
        """

    def apply(self, image: Tensor, modality: Modality,
              generator: torch.Generator) -> Tensor:
        """Change one image.

        Args:
            image (Tensor): Normalised image of the modality, of shape
                (C_m, H, W). It must stay as it is.
            modality (Modality): What the layout says of it.
            generator (Generator): Gives what is random, on the CPU.

        Returns:
            Tensor: The image from the faulty sensor, of the same shape.
        """
        raise NotImplementedError

    def __call__(self, inputs: Tensor, samples: Sequence[BaseDataElement],
                 places: Sequence[int], layout: ModalityLayout) -> Tensor:
        """Change the images of a batch.

        A sample without the modality stays as it is.

        Args:
            inputs (Tensor): Normalised stacked tensor of shape (B, C, H, W).
            samples (Sequence[BaseDataElement]): At most B data samples, those
                of the first images; others stay as they are. ``img_shape``
                says how much of the tensor is the image.
            places (Sequence[int]): Place of each sample in the dataset.
            layout (ModalityLayout): The layout.

        Returns:
            Tensor: Another stacked tensor, with the same modalities present.
        """
        presence = layout.presence(inputs)
        modality = layout[self.modality]
        changed = inputs.clone()
        for i, (sample, place) in enumerate(zip(samples, places)):
            if not presence[self.modality][i]:
                continue
            height, width = sample.metainfo.get('img_shape',
                                                inputs.shape[2:])[:2]
            seed, = np.random.SeedSequence(
                (self.seed, place)).generate_state(1, np.uint64)
            generator = torch.Generator().manual_seed(int(seed) >> 1)
            changed[i, modality.slice, :height, :width] = self.apply(
                inputs[i, modality.slice, :height, :width], modality,
                generator)
        return with_presence(changed, presence)


def _check_share(value: float, where: str) -> float:
    if not 0 < value <= 1:
        raise ValueError(f'{where} must be above 0 and at most 1, but is '
                         f'{value!r}')
    return value


@FAULTS.register_module()
class MissingElements(Fault):
    """Random values are 0 after normalisation, that is the mean.

    The protocol RMM: each value, also each channel of a pixel, is lost by
    itself.

    Args:
        modality (str): The modality.
        share (float): Probability of each value to be lost. The protocol has
            0.25, 0.5 and 0.75.
        seed (int): Seed of the values that are lost. Defaults to 0.
    """
    kind = 'missing_elements'

    def __init__(self, modality: str, share: float, seed: int = 0) -> None:
        super().__init__(modality, seed)
        self.share = _check_share(share, 'MissingElements.share')

    def degree(self) -> List[str]:
        return [f'{self.share:g}']

    def apply(self, image: Tensor, modality: Modality,
              generator: torch.Generator) -> Tensor:
        lost = torch.rand(image.shape, generator=generator) < self.share
        return image.masked_fill(lost.to(image.device), 0)


@FAULTS.register_module()
class SaltAndPepper(Fault):
    """Random pixels have the highest or the lowest value of the image.

    Salt and pepper are equally frequent; a pixel has the extreme of every
    channel.

    Args:
        modality (str): The modality.
        density (float): Probability of each pixel to be changed. The
            protocol NM has 0.05, 0.1 and 0.2.
        seed (int): Seed of the pixels. Defaults to 0.
    """
    kind = 'salt_and_pepper'

    def __init__(self, modality: str, density: float, seed: int = 0) -> None:
        super().__init__(modality, seed)
        self.density = _check_share(density, 'SaltAndPepper.density')

    def degree(self) -> List[str]:
        return [f'{self.density:g}']

    def apply(self, image: Tensor, modality: Modality,
              generator: torch.Generator) -> Tensor:
        draw = torch.rand(
            image.shape[1:], generator=generator).to(image.device)
        lowest, highest = (
            extreme((1, 2), keepdim=True)
            for extreme in (image.amin, image.amax))
        image = torch.where(draw < self.density / 2, lowest, image)
        return torch.where(draw >= 1 - self.density / 2, highest, image)


@FAULTS.register_module()
class GaussianNoise(Fault):
    """Normally distributed noise is added after normalisation.

    Args:
        modality (str): The modality.
        sigma (float): Standard deviation of the noise, in units of the
            modality's ``std``. The protocol NM has 0.1, 0.2 and 0.5.
        seed (int): Seed of the noise. Defaults to 0.
    """
    kind = 'gaussian_noise'

    def __init__(self, modality: str, sigma: float, seed: int = 0) -> None:
        super().__init__(modality, seed)
        if sigma <= 0:
            raise ValueError('GaussianNoise.sigma must be positive, but is '
                             f'{sigma!r}')
        self.sigma = sigma

    def degree(self) -> List[str]:
        return [f'{self.sigma:g}']

    def apply(self, image: Tensor, modality: Modality,
              generator: torch.Generator) -> Tensor:
        noise = torch.randn(image.shape, generator=generator)
        return image + self.sigma * noise.to(image)


@FAULTS.register_module()
class FrozenFrame(Fault):
    """The sensor goes on delivering one image of the dataset.

    It is resized bilinearly where images differ in size.

    Args:
        modality (str): The modality.
        frame (int, optional): Which sample of the dataset the image is of.
            Defaults to None, the first that has the modality.
    """
    kind = 'frozen_frame'

    def __init__(self, modality: str, frame: Optional[int] = None) -> None:
        super().__init__(modality)
        self.frame = frame

    def degree(self) -> List[str]:
        return [f'{self.frame}'] if self.frame else []

    def prepare(self, load: Load) -> None:
        if self.frame is None:
            for frame in itertools.count():
                try:
                    self._stack, absent = load(frame)
                except IndexError as error:
                    raise ValueError(
                        f'the sensor of modality {self.modality!r} cannot '
                        f'freeze: none of the {frame} samples of the dataset '
                        'has it') from error
                if self.modality not in absent:
                    return
        self._stack, absent = load(self.frame)
        if self.modality in absent:
            raise ValueError(
                f'the sensor of modality {self.modality!r} cannot freeze at '
                f'sample {self.frame} of the dataset, which lacks it: name '
                'another one in FrozenFrame.frame')

    def apply(self, image: Tensor, modality: Modality,
              generator: torch.Generator) -> Tensor:
        frame = self._stack[modality.slice].to(image)
        if frame.shape == image.shape:
            return frame
        return interpolate(
            frame[None], image.shape[1:], mode='bilinear',
            align_corners=False)[0]


@FAULTS.register_module()
class Shift(Fault):
    """The image is displaced, as if the sensors were not aligned.

    What moves in at the border is 0 after normalisation, that is the mean.

    Args:
        modality (str): The modality.
        x (int): Pixels to the right, of the image as the network gets it;
            negative to the left. Defaults to 0.
        y (int): Pixels down; negative up. Defaults to 0.
    """
    kind = 'shift'

    def __init__(self, modality: str, x: int = 0, y: int = 0) -> None:
        super().__init__(modality)
        if not x and not y:
            raise ValueError('Shift moves nothing: give x or y')
        self.x, self.y = x, y

    def degree(self) -> List[str]:
        return [f'{self.x}', f'{self.y}']

    def apply(self, image: Tensor, modality: Modality,
              generator: torch.Generator) -> Tensor:
        shifted = image.roll((self.y, self.x), (1, 2))
        for moved, dim in ((self.y, 1), (self.x, 2)):
            size = image.size(dim)
            length = min(abs(moved), size)
            start = 0 if moved > 0 else size - length
            shifted.narrow(dim, start, length).fill_(0)
        return shifted


@FAULTS.register_module()
class Stripe(Fault):
    """A stripe over the whole width is black, at a random height.

    Black is what a 0 in the file becomes: of a modality whose files say "no
    measurement" by an ``invalid_value``, 0 after normalisation.

    Args:
        modality (str): The modality.
        share (float): Height of the stripe as a share of the image's. At
            least one row is black. Defaults to 0.25.
        seed (int): Seed of the place. Defaults to 0.
    """
    kind = 'stripe'

    def __init__(self, modality: str, share: float = 0.25,
                 seed: int = 0) -> None:
        super().__init__(modality, seed)
        self.share = _check_share(share, 'Stripe.share')

    def degree(self) -> List[str]:
        return [f'{self.share:g}']

    def apply(self, image: Tensor, modality: Modality,
              generator: torch.Generator) -> Tensor:
        height = max(round(self.share * image.size(1)), 1)
        top = int(
            torch.randint(
                image.size(1) - height + 1, (1, ), generator=generator))
        black = image.new_zeros(len(image))
        if not modality.invalid_value:
            black = -image.new_tensor(modality.mean) / image.new_tensor(
                modality.std)
        image = image.clone()
        image[:, top:top + height] = black[:, None, None]
        return image


def _standard(modality: str) -> List[Fault]:
    return [
        *(MissingElements(modality, share) for share in (0.25, 0.5, 0.75)),
        *(SaltAndPepper(modality, density) for density in (0.05, 0.1, 0.2)),
        *(GaussianNoise(modality, sigma) for sigma in (0.1, 0.2, 0.5)),
        FrozenFrame(modality),
        Shift(modality, x=4),
        Stripe(modality),
    ]


def build_faults(faults: Union[str, Sequence[Mapping]],
                 layout: ModalityLayout, where: str) -> List[Fault]:
    """Build the faults of a config.

    Args:
        faults (str | Sequence[Mapping]): Configs of faults, or ``'all'`` for
            those of the protocols, with a frozen frame, a shift by 4 pixels
            and a stripe, of every modality.
        layout (ModalityLayout): The layout.
        where (str): Config key, for the error messages.

    Returns:
        list[Fault]: The faults.

    Raises:
        TypeError: If ``faults`` is neither.
        ValueError: If a modality is unknown, or two faults have one name.

    Examples:
        >>> layout = ModalityLayout(dict(rgb=dict(channels=3)))
        >>> fault, = build_faults(
        ...     [dict(type='mwam_mm.Stripe', modality='rgb')], layout,
        ...     'test_cfg.faults')
        >>> fault.name
        'rgb.stripe_0.25'
    """
    if faults == 'all':
        return [fault for name in layout for fault in _standard(name)]
    if isinstance(faults, (str, Mapping)) or not isinstance(faults, Sequence):
        raise TypeError(f"{where} must be 'all' or a list of configs, but got "
                        f'{faults!r}')
    built: Dict[str, Fault] = {}
    for i, cfg in enumerate(faults):
        fault: Any = FAULTS.build(cfg)
        layout.check_names([fault.modality], f'{where}[{i}].modality')
        if fault.name in built:
            raise ValueError(f'{where}[{i}] repeats the row {fault.name!r}')
        built[fault.name] = fault
    return list(built.values())
