"""Loading of all modalities of a sample into one stacked image."""
import os
from typing import Dict, Mapping, Optional, Tuple, Union

import cv2
import mmengine.fileio as fileio
import numpy as np
from mmcv.transforms import BaseTransform

from mwam_mm.layout import Modality, ModalityLayout
from mwam_mm.registry import TRANSFORMS

from .decoding import decode_exactly

__all__ = ['LoadModalities']

_BACKENDS = ('cv2', 'pillow', 'turbojpeg', 'tifffile')


@TRANSFORMS.register_module()
class LoadModalities(BaseTransform):
    """Load every modality of a sample and stack them into one image.

    Reads PNG and JPEG of 8 or 16 bits, TIFF of any integer or float type and
    number of channels, and arrays of shape (H, W) or (H, W, C) in ``.npy`` and
    ``.npz``.
    Nothing is converted silently: the values are those of the file, and a
    file that cannot be read so, or has not the declared number of channels,
    is an error. Colour channels come as B, G, R(, further ones), those of
    ``.npy`` and of TIFFs that are not RGB in the order of the file.

    Where a value equals the modality's ``invalid_value``, the modality's mean
    takes its place. After normalisation that is 0, which says nothing, and
    unlike a raw 0 it does not bleed a false depth into its neighbours when
    the stack is resized.

    Required Keys:

    - ``path_key`` of each modality, e.g. img_path and depth_path; None where
      a sample lacks an optional one
    - height (int, optional) and width (int, optional): Size of the image
      according to its annotations
    - crop_box (tuple[int], optional): x, y, width and height in pixels of the
      part of the image that is the sample; only that is loaded

    Added Keys:

    - img (np.ndarray): Shape (H, W, C), modalities in the order of the
      layout. uint8 when every file is uint8 and the layout declares neither
      a ``scale`` nor an ``invalid_value``, else float32.
    - img_shape (tuple[int]): (H, W)
    - ori_shape (tuple[int]): (H, W)
    - absent_modalities (tuple[str]): Optional modalities whose file is
      missing; their channels are 0. Only if the layout has optional
      modalities. The datasets of this package then add it to the
      ``meta_keys`` of ``PackSegInputs``, ``PackDetInputs`` or ``PackInputs``;
      elsewhere it must be named there.

    Args:
        modalities (Mapping): The layout, see :class:`ModalityLayout`.
            Modalities with the same path share one file, which is read
            once; ``file_channels`` says which of its channels are whose.
        imdecode_backend (str | Mapping[str, str], optional): Backend of
            :func:`mmcv.imfrombytes` for files other than TIFF and ``.npy``,
            for all modalities or by the modality's name. With 'tifffile' the
            channels of RGB TIFFs keep the order of the file. Defaults to
            None, what reads a file of its type exactly.
        backend_args (dict, optional): Arguments of the file backend, see
            :mod:`mmengine.fileio`. Defaults to None.
        border (int): Pixels to cut off from each side of the files, for
            datasets published with a frame. Annotations are of what is left.
            Defaults to 0.
        resize_to (str, optional): Modality to whose height and width the
            others are resized, for sensors of different resolution that see
            the same. Bilinear, but the nearest pixel where the modality has
            an ``invalid_value``. Defaults to None, different sizes are an
            error.
        grey_as_color (bool): Whether a file of one channel counts for all
            three of a modality, for grey files among colour ones. Defaults to
            False, it is an error.
        npz_key (str | Mapping[str, str], optional): Name of the array in
            ``.npz`` files, for all modalities or by the modality's name.
            Defaults to None, the only array.

    Raises:
        KeyError: If the sample has no path for a modality.
        FileNotFoundError: If the file of a modality that is not optional is
            missing, or those of all modalities are.
        ValueError: If a backend is unknown, or a file cannot be read exactly,
            is turned by its EXIF or TIFF tag, has several pages, another
            number of channels than declared, another height or width than
            the first modality or than the annotations say, or with
            ``resize_to`` another ratio of them, a data type that holds no
            real numbers, or a NaN or Inf pixel.

    Examples:
        >>> modalities = dict(
        ...     rgb=dict(channels=3, mean=[123.7, 116.3, 103.5],
        ...              std=[58.4, 57.1, 57.4], bgr_to_rgb=True),
        ...     depth=dict(channels=1, mean=3.2, std=1.4, scale=0.001,
        ...                invalid_value=0))
        >>> train_pipeline = [
        ...     dict(type='mwam_mm.LoadModalities', modalities=modalities),
        ...     dict(type='LoadAnnotations'),
        ...     dict(type='RandomCrop', crop_size=(512, 512)),
        ...     dict(type='RandomFlip', prob=0.5),
        ...     dict(type='PackSegInputs')
        ... ]
    """

    def __init__(self,
                 modalities: Mapping,
                 imdecode_backend: Union[str, Mapping, None] = None,
                 backend_args: Optional[dict] = None,
                 border: int = 0,
                 resize_to: Optional[str] = None,
                 grey_as_color: bool = False,
                 npz_key: Union[str, Mapping, None] = None) -> None:
        self.layout = ModalityLayout(modalities)
        self.border = border
        self.resize_to = resize_to
        if resize_to is not None:
            self.layout.check_names([resize_to], 'resize_to')
        self.grey_as_color = grey_as_color
        self.npz_key = npz_key
        self._npz_keys = self._by_name(npz_key, 'npz_key')
        self.imdecode_backend = imdecode_backend
        self.backend_args = backend_args
        self._backends = self._backend_by_name(imdecode_backend)
        first, *others = self.layout.values()
        self._raw = not any(map(self._changes, self.layout.values()))
        # RGB and one channel more, the usual case.
        self._pair = (first.channels == 3 and not self._changes(first)
                      and [m.channels for m in others] == [1])

    def _backend_by_name(
            self, backend: Union[str, Mapping,
                                 None]) -> Dict[str, Optional[str]]:
        """The backend of each modality."""
        by_name = self._by_name(backend, 'imdecode_backend')
        for value in by_name.values():
            if value is not None and value not in _BACKENDS:
                raise ValueError(
                    f'imdecode_backend={backend!r} names {value!r}; known '
                    f'are {list(_BACKENDS)}, and None for the type of file')
        return by_name

    def _by_name(self, value: Union[str, Mapping, None],
                 where: str) -> Dict[str, Optional[str]]:
        """An option of each modality."""
        if not isinstance(value, Mapping):
            return dict.fromkeys(self.layout, value)
        self.layout.check_names(list(value), where)
        return {name: value.get(name) for name in self.layout}

    def transform(self, results: dict) -> dict:
        """Load and stack.

        Args:
            results (dict): The sample's paths.

        Returns:
            dict: The sample with the stacked image.
        """
        files: Dict[Tuple, Optional[np.ndarray]] = {}
        images: Dict[str, np.ndarray] = {}
        for name, modality in self.layout.items():
            path = results.get(modality.path_key)
            if path is None and modality.optional and (
                    modality.path_key in results):
                continue  # the dataset knows that there is no such file
            if path is None:
                found = [key for key in sorted(results) if key.endswith(
                    '_path') and results[key] is not None]
                raise KeyError(
                    f'modality {name!r} needs results'
                    f'[{modality.path_key!r}], but the sample '
                    f'{results.get("img_path")!r} has {found}. '
                    "Add it to the dataset's data_prefix or set "
                    f'modalities[{name!r}].path_key. Outside a dataset, '
                    'mwam_mm.apis.MultiModalInferencer takes files by '
                    'modality, which mmseg.apis.inference_model and '
                    'mmdet.apis.inference_detector cannot')
            key = path, self._backends[name], self._npz_keys[name]
            if key not in files:
                files[key] = self._read(path, modality)
            if files[key] is not None:
                images[name] = self._select(files[key], path, modality)
            elif not modality.optional:
                raise FileNotFoundError(
                    f'{self._where(modality, path)} does not exist. Correct '
                    f'the path, or set modalities[{name!r}].optional=True of '
                    'LoadModalities if samples may lack it')
        if not images:
            raise FileNotFoundError(
                'the sample has no file at all: ' + ', '.join(
                    self._where(m, results[m.path_key])
                    for m in self.layout.values()) + '. Correct the paths')
        if self.resize_to is not None:
            self._resize(images, results)
        self._check_sizes(images, results)

        image = self._stack(images, results)
        if 'crop_box' in results:
            image = self._crop(image, results)
        results['img'] = image
        results['img_shape'] = image.shape[:2]
        results['ori_shape'] = image.shape[:2]
        if any(m.optional for m in self.layout.values()):
            results['absent_modalities'] = tuple(
                name for name in self.layout if name not in images)
        return results

    def has_file(self, results: dict, name: str) -> bool:
        """Whether a sample has the file of a modality.

        Args:
            results (dict): The sample, as a dataset describes it.
            name (str): Name of the modality.

        Returns:
            bool: Whether there is one. It is not read.
        """
        path = results.get(self.layout[name].path_key)
        return path is not None and fileio.exists(
            path, backend_args=self.backend_args)

    @staticmethod
    def _where(modality: Modality, path: Optional[str]) -> str:
        """How error messages call the file of a modality."""
        name = None if path is None else os.fspath(path)
        return (f'modality {modality.name!r}: '
                f'results[{modality.path_key!r}] = {name!r}')

    def _read(self, path: str, modality: Modality) -> Optional[np.ndarray]:
        """Read a file as an (H, W, C) array; None if it does not exist."""
        where = self._where(modality, path)
        try:
            content = fileio.get(path, backend_args=self.backend_args)
        except FileNotFoundError:
            return None
        image = decode_exactly(content, self._backends[modality.name], where,
                               self._npz_keys[modality.name])
        if image.dtype.kind not in 'uif':
            raise ValueError(
                f'{where} has data type {image.dtype}; save it as integer or '
                'float')
        if image.ndim == 2:
            image = image[..., None]
        if image.ndim != 3 or not image.size:
            raise ValueError(f'{where} has shape {image.shape}; expected '
                             '(H, W) or (H, W, C), none of them 0')
        if self.border:
            if min(image.shape[:2]) <= 2 * self.border:
                raise ValueError(
                    f'{where} has (height, width) {image.shape[:2]}, of '
                    f'which border={self.border} leaves nothing')
            image = image[self.border:-self.border, self.border:-self.border]
        return image

    def _select(self, image: np.ndarray, path: str,
                modality: Modality) -> np.ndarray:
        """Take the modality's channels of a file, values untouched."""
        field = f'modalities[{modality.name!r}]'
        if self.grey_as_color and (image.shape[2],
                                   modality.channels) == (1, 3):
            image = image.repeat(3, 2)
        num_channels = image.shape[2]
        channels = modality.file_channels
        if channels is None:
            if num_channels != modality.channels:
                raise ValueError(
                    f'{self._where(modality, path)} has {num_channels} '
                    f'channel(s), but {field}.channels={modality.channels}. '
                    'Correct that, save the file with '
                    f'{modality.channels}, or choose among its channels with '
                    f'{field}.file_channels' +
                    (', or set grey_as_color=True of LoadModalities for grey '
                     'files among colour ones' if (
                         num_channels, modality.channels) == (1, 3) else ''))
            return image
        if not all(0 <= c < num_channels for c in channels):
            raise ValueError(
                f'{self._where(modality, path)} has {num_channels} '
                f'channel(s), but {field}.file_channels={list(channels)}; '
                'channels are numbered from 0')
        return image[..., list(channels)]

    def _resize(self, images: Dict[str, np.ndarray], results: dict) -> None:
        """Bring the values of the files to the size of one modality."""
        if self.resize_to in images:
            height, width = images[self.resize_to].shape[:2]
        elif None not in (results.get('height'), results.get('width')):
            height, width = results['height'], results['width']
        else:
            where = self._where(
                self.layout[self.resize_to],
                results[self.layout[self.resize_to].path_key])
            raise FileNotFoundError(
                f'{where} does not exist, to whose size the others are to be '
                f'resized (resize_to={self.resize_to!r}): let resize_to name '
                'a modality that every sample has')
        for name, image in images.items():
            modality = self.layout[name]
            if image.shape[:2] == (height, width):
                continue
            if abs(image.shape[0] * width / image.shape[1] - height) > 1:
                where = self._where(modality, results[modality.path_key])
                raise ValueError(
                    f'{where} has (height, width) {image.shape[:2]}, which '
                    f'resize_to={self.resize_to!r} would stretch to '
                    f'{(height, width)}: the sensors do not see the same. '
                    'Crop the files to what both see')
            nearest = bool(modality.invalid_value)
            if image.dtype not in (np.uint8, np.uint16, np.int16, np.float32,
                                   np.float64):
                image = image.astype(np.float64)  # OpenCV knows no other
            images[name] = cv2.resize(
                image, (width, height),
                interpolation=cv2.INTER_NEAREST
                if nearest else cv2.INTER_LINEAR).reshape(
                    height, width, modality.channels)

    def _check_sizes(self, images: Dict[str, np.ndarray],
                     results: dict) -> None:
        """Refuse modalities of another height or width than the first, or
        boxes that are of an image of another size."""
        first, *others = images
        size = images[first].shape[:2]
        for name in others:
            if images[name].shape[:2] != size:
                where, first_where = (
                    self._where(self.layout[n],
                                results[self.layout[n].path_key])
                    for n in (name, first))
                raise ValueError(
                    f'{where} has (height, width) {images[name].shape[:2]}, '
                    f'but {first_where} has {size}. All modalities must be '
                    'registered to one pixel grid. If they see the same in '
                    'different resolution, set resize_to of LoadModalities to '
                    'the modality whose size all are to have')
        annotated = results.get('height'), results.get('width')
        if None not in annotated and annotated != size:
            where = self._where(self.layout[first],
                                results[self.layout[first].path_key])
            raise ValueError(
                f'{where} has (height, width) {size} with '
                f'border={self.border}, but its annotations say {annotated}: '
                'their boxes are of another image. Correct one of the three')

    @staticmethod
    def _crop(image: np.ndarray, results: dict) -> np.ndarray:
        """The part of an image that is the sample."""
        x, y, width, height = results['crop_box']
        if (min(x, y) < 0 or min(width, height) < 1
                or y + height > image.shape[0] or x + width > image.shape[1]):
            raise ValueError(
                f'crop_box={results["crop_box"]} (x, y, width, height) is not '
                f'within the image of (height, width) {image.shape[:2]} at '
                f'{results.get("img_path")!r}')
        return np.ascontiguousarray(image[y:y + height, x:x + width])

    def _stack(self, images: Dict[str, np.ndarray],
               results: dict) -> np.ndarray:
        """Stack the images in the order of the layout."""
        bytes_only = self._raw and all(
            image.dtype == np.uint8 for image in images.values())
        if self._pair and len(images) == 2:
            first, second = self.layout.values()
            image = images[second.name]
            if images[first.name].dtype == np.uint8:
                # Room for a fourth channel, which is then filled: this takes
                # a third of the time of cv2.merge.
                stack = cv2.cvtColor(images[first.name], cv2.COLOR_BGR2BGRA)
                if not bytes_only:
                    stack = stack.astype(np.float32)
                    image = self._convert(image, results[second.path_key],
                                          second)
                return cv2.insertChannel(image, stack, 3)
        size = next(iter(images.values())).shape[:2]
        stack = []
        for name, modality in self.layout.items():
            image = images.get(name)
            if image is None:
                image = np.zeros(size + (modality.channels, ),
                                 np.uint8 if bytes_only else np.float32)
            elif not bytes_only:
                image = self._convert(image, results[modality.path_key],
                                      modality)
            stack.append(image)
        # OpenCV, because numpy is slow along a short last axis.
        return cv2.merge(stack).reshape(size + (self.layout.num_channels, ))

    @staticmethod
    def _changes(modality: Modality) -> bool:
        """Whether other values are wanted than those of the file."""
        return modality.scale != 1 or bool(modality.invalid_value)

    def _convert(self, image: np.ndarray, path: str,
                 modality: Modality) -> np.ndarray:
        """Scale, and put the mean where the file holds no measurement."""
        with np.errstate(over='ignore'):
            if self._changes(modality):
                values = np.multiply(
                    image,
                    np.float32(modality.scale),
                    dtype=np.float32,
                    casting='unsafe')
            else:
                values = image.astype(np.float32, copy=False)
        for invalid in modality.invalid_value:
            if np.isnan(invalid):
                mask = np.isnan(image)
            else:
                # An int is compared in the file's own type, without a copy.
                mask = image == (
                    int(invalid) if invalid.is_integer() else invalid)
            np.copyto(values, np.float32(modality.stack_mean), where=mask)
        if image.dtype.kind == 'f':
            bad = values.size - np.count_nonzero(np.isfinite(values))
            if bad:
                raise ValueError(
                    f'{self._where(modality, path)} has {bad} pixel(s) of '
                    'NaN or Inf. Repair the file or, if they mean "no '
                    'measurement", set '
                    f'modalities[{modality.name!r}].invalid_value='
                    "float('nan'), float('inf') or a list of both")
        return values

    def __repr__(self) -> str:
        return (f'{self.__class__.__name__}(modalities={self.layout}, '
                f'imdecode_backend={self.imdecode_backend!r}, '
                f'backend_args={self.backend_args}, border={self.border}, '
                f'resize_to={self.resize_to!r}, '
                f'grey_as_color={self.grey_as_color}, '
                f'npz_key={self.npz_key!r})')
