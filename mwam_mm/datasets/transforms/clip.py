"""Loading and flipping of video clips with optical flow."""
import os
import os.path as osp
from typing import Dict, List, Mapping

import mmengine.fileio as fileio
import numpy as np
from mmcv.transforms import RandomFlip
from mmcv.transforms.utils import cache_randomness

from mwam_mm.layout import Modality
from mwam_mm.registry import TRANSFORMS

from ..file_names import natural_key
from .decoding import decode_exactly
from .loading import LoadModalities

__all__ = ['FOLDERS', 'FlipClip', 'LoadClip']

# The path keys of the folders that a modality has.
FOLDERS = dict(rgb=('img_path', ), flow=('u_path', 'v_path'))


@TRANSFORMS.register_module()
class LoadClip(LoadModalities):
    """Load some frames of a clip and the flow at them, as one stack.

    The clip is cut into ``num_frames`` segments of equal length, and a frame
    is taken of each: at random, or from its middle. With each frame comes the
    flow from it to the next one. The stack has 3 channels for each frame
    (R, G, B) in the modality ``rgb`` and 2 for each flow (u, v) in the
    modality ``flow``, either of which may be left out.

    Flow images are 8 bit, u to the right and v downwards, with no motion
    halfway between 127 and 128; ``mean=127.5`` makes 0 of it.

    Required Keys:

    - img_path (str): Folder of the frames, in the order of the numbers in
      their names.
    - u_path (str) and v_path (str): Folders of the flow images, one for each
      frame or for each but the last. Those of a modality that the layout
      leaves out are not needed.

    Added Keys:

    - img (np.ndarray): Shape (H, W, C), uint8.
    - img_shape (tuple[int]): (H, W)
    - ori_shape (tuple[int]): (H, W)
    - flow_channels (tuple[list[int]]): The channels of u and of v.
    - absent_modalities (tuple[str]): As of :class:`LoadModalities`; a modality
      is missing where its folder is.

    Args:
        modalities (Mapping): The layout, see :class:`ModalityLayout`, with
            ``3 * num_frames`` channels of ``rgb`` and ``2 * num_frames`` of
            ``flow``.
        num_frames (int): Number of frames T. Defaults to 3.
        random (bool): Whether frames are drawn from their segments, as for
            training. Defaults to False, their middle.

    Raises:
        FileNotFoundError: If a folder is missing whose modality is not
            optional.
        ValueError: If the layout has other modalities or channels, or fields
            that are for single images (``bgr_to_rgb``, ``file_channels``,
            ``scale``, ``invalid_value``); if a folder has too few images, or
            their sizes or channels differ.

    Examples:
        >>> modalities = dict(
        ...     rgb=dict(channels=9, mean=[123.7, 116.3, 103.5] * 3,
        ...              std=[58.4, 57.1, 57.4] * 3),
        ...     flow=dict(channels=6, mean=127.5, std=30.))
        >>> train_pipeline = [
        ...     dict(type='mwam_mm.LoadClip', modalities=modalities,
        ...          random=True),
        ...     dict(type='Resize', scale=(112, 112)),
        ...     dict(type='mwam_mm.FlipClip', prob=0.5),
        ...     dict(type='PackInputs')
        ... ]
    """

    def __init__(self,
                 modalities: Mapping,
                 num_frames: int = 3,
                 random: bool = False) -> None:
        super().__init__(modalities)
        if num_frames < 1:
            raise ValueError(f'num_frames must be positive, but got '
                             f'{num_frames}')
        channels = dict(rgb=3 * num_frames, flow=2 * num_frames)
        self.layout.check_names(
            [n for n in channels if n in self.layout], 'LoadClip')
        for name, modality in self.layout.items():
            if modality.channels != channels.get(name):
                raise ValueError(
                    f'LoadClip with num_frames={num_frames} needs the '
                    f'channels {channels}, but modalities[{name!r}].channels='
                    f'{modality.channels}')
            if (modality.bgr_to_rgb or modality.file_channels
                    or self._changes(modality)):
                raise ValueError(
                    f'modalities[{name!r}]: LoadClip gives R, G, B and u, v '
                    'as they are: leave out bgr_to_rgb, file_channels, scale '
                    'and invalid_value')
        self.num_frames = num_frames
        self.random = random

    def transform(self, results: dict) -> dict:
        """Load and stack.

        Args:
            results (dict): The clip's folders.

        Returns:
            dict: The sample with the stacked image.
        """
        files: Dict[str, List[str]] = {}
        for name, modality in self.layout.items():
            for key in FOLDERS[name]:
                found = self._list(results, key, modality)
                if found is not None:
                    files[key] = found
        if not files:
            raise FileNotFoundError(
                f'the clip {results.get("img_path")!r} has no folder at all')
        length = self._length(files, results)
        indices = self.sample_indices(length)
        images = []
        absent = []
        for name, modality in self.layout.items():
            keys = FOLDERS[name]
            if any(key not in files for key in keys):
                absent.append(name)
                images.append(None)
                continue
            images.append(
                np.concatenate([
                    self._image(results[key], files[key][i], name)
                    for i in indices for key in keys
                ], 2))
        sizes = {x.shape[:2] for x in images if x is not None}
        if len(sizes) > 1:
            raise ValueError(f'the frames and the flow of clip '
                             f'{results.get("img_path")!r} have the (height, '
                             f'width) {sorted(sizes)}, which must be one')
        size, = sizes
        stack = np.concatenate([
            np.zeros((*size, m.channels), np.uint8) if x is None else x
            for x, m in zip(images, self.layout.values())
        ], 2)
        results['img'] = stack
        results['img_shape'] = results['ori_shape'] = size
        if 'flow' in self.layout:
            where = self.layout['flow'].slice
            results['flow_channels'] = tuple(
                list(range(where.start + i, where.stop, 2)) for i in (0, 1))
        if any(m.optional for m in self.layout.values()):
            results['absent_modalities'] = tuple(absent)
        return results

    @cache_randomness
    def sample_indices(self, length: int) -> List[int]:
        """Which frames of a clip to take.

        Args:
            length (int): Number of frames that have a flow.

        Returns:
            list[int]: ``num_frames`` indices, in their order.
        """
        edges = np.linspace(0, length, self.num_frames + 1)
        where = np.random.rand(
            self.num_frames) if self.random else np.full(self.num_frames, 0.5)
        places = edges[:-1] + where * (edges[1:] - edges[:-1])
        return places.astype(int).clip(max=length - 1).tolist()

    def _list(self, results: dict, key: str, modality: Modality):
        """The images of a folder; None where an optional one is missing."""
        where = f'modality {modality.name!r}: results[{key!r}]'
        folder = results.get(key)
        if folder is None:
            raise KeyError(f'{where} is needed, but the sample has '
                           f'{sorted(k for k in results if "_path" in k)}')
        if not osp.isdir(folder):
            if modality.optional:
                return None
            raise FileNotFoundError(
                f'{where} = {folder!r} does not exist. Correct the path, or '
                f'set modalities[{modality.name!r}].optional=True')
        return sorted((name for name in os.listdir(folder)
                       if not name.startswith('.')),
                      key=natural_key)

    def _length(self, files: Dict[str, List[str]], results: dict) -> int:
        """Number of frames with a flow, or of all where there is no flow."""
        counts = {key: len(names) for key, names in files.items()}
        flows = {counts[key] for key in FOLDERS['flow'] if key in counts}
        frames = counts.get('img_path')
        length = min(counts.values())
        if length < 1 or len(flows) > 1 or (
                flows and frames is not None and not
                0 <= frames - max(flows) <= 1):
            raise ValueError(
                f'the folders of clip {results.get("img_path")!r} have '
                f'{counts} images: there must be a u and a v for each frame '
                'or for each but the last')
        return length

    def _image(self, folder: str, file: str, name: str) -> np.ndarray:
        path = osp.join(folder, file)
        where = f'modality {name!r}: {path!r}'
        image = decode_exactly(fileio.get(path), None, where)
        image = image if image.ndim == 3 else image[..., None]
        channels = 3 if name == 'rgb' else 1
        if image.dtype != np.uint8 or image.shape[2] != channels:
            raise ValueError(
                f'{where} has {image.shape[2]} channel(s) of {image.dtype}, '
                f'but expected are {channels} of uint8')
        return image[..., ::-1]  # R, G, B

    def __repr__(self) -> str:
        return (f'{self.__class__.__name__}(modalities={self.layout}, '
                f'num_frames={self.num_frames}, random={self.random})')


@TRANSFORMS.register_module()
class FlipClip(RandomFlip):
    """:class:`mmcv.transforms.RandomFlip` that turns the flow as well.

    What moves to the right moves to the left in the mirror, so a horizontal
    flip negates u and a vertical one v: the value x becomes 255 - x.

    Required Keys:

    - img (np.ndarray): uint8.
    - flow_channels (tuple[list[int]], optional): As :class:`LoadClip` gives.

    Modified Keys:

    - img

    Args:
        *args: Those of :class:`mmcv.transforms.RandomFlip`.
        **kwargs: Likewise.

    Examples:
        >>> dict(type='mwam_mm.FlipClip', prob=0.5)
        {'type': 'mwam_mm.FlipClip', 'prob': 0.5}
    """

    def _flip(self, results: dict) -> None:
        super()._flip(results)
        u, v = results.get('flow_channels', ([], []))
        direction = results['flip_direction']
        channels = (u if direction in ('horizontal', 'diagonal') else []) + (
            v if direction in ('vertical', 'diagonal') else [])
        if channels:
            image = np.array(results['img'])
            image[..., channels] = 255 - image[..., channels]
            results['img'] = image
