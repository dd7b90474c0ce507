"""Images that the trainings of a study share."""
from typing import Dict, Mapping

import mmcv
import mmengine.fileio
import numpy as np
from mmengine.registry import DATASETS


class DecodedImages:
    """Files and the images in them, kept in memory.

    Stands between the loading transforms and the two functions that all of
    them use. After :meth:`fill` it only answers, so that the forked runs
    share what it holds and add nothing. Files that it does not know are read
    as always.

    Args:
        limit (float): Bytes of images to keep.
    """

    def __init__(self, limit: float) -> None:
        self._room = limit
        self._filling = False
        self._files: Dict[str, bytes] = {}
        # The contents of the files stay where they are: id() tells them.
        self._images: Dict[int, Dict[str, np.ndarray]] = {}
        self._get, mmengine.fileio.get = mmengine.fileio.get, self.get
        self._imfrombytes, mmcv.imfrombytes = (
            mmcv.imfrombytes, self.imfrombytes)

    def get(self, filepath, backend_args=None) -> bytes:
        """In place of :func:`mmengine.fileio.get`."""
        key = f'{filepath} {backend_args}'
        if key in self._files:
            return self._files[key]
        content = self._get(filepath, backend_args)
        if self._filling:
            self._files[key] = content
            self._images[id(content)] = {}
        return content

    def imfrombytes(self, content: bytes, *args, **kwargs) -> np.ndarray:
        """In place of :func:`mmcv.imfrombytes`."""
        images = self._images.get(id(content), {})
        key = repr((args, sorted(kwargs.items())))
        if key in images:
            return images[key].copy()  # transforms work in place
        image = self._imfrombytes(content, *args, **kwargs)
        if self._filling and image is not None:
            images[key] = image.copy()
            self._room -= image.nbytes
        return image

    def fill(self, dataset: Mapping) -> None:
        """Read the samples of a dataset, as long as there is room."""
        built = DATASETS.build(dict(dataset))
        self._filling = True
        try:
            for i in range(len(built)):
                if self._room < 0:
                    break
                built[i]
        finally:
            self._filling = False
