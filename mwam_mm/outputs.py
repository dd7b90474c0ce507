"""Where the files that are written for a sample belong."""
import os.path as osp
from typing import Any, Dict, List

from mwam_mm.config import leaf_datasets

__all__ = ['OutputNames']


class OutputNames:
    """Names of what is written for the images of a dataset.

    An image keeps its path relative to the dataset's folder of images, so
    that equal file names in different folders stay apart.

    Args:
        dataset (Dataset): The built dataset, in wrappers or not. Several
            datasets get the folder that theirs have in common.

    Examples:
        >>> from types import SimpleNamespace
        >>> dataset = SimpleNamespace(data_prefix=dict(img_path='data/rgb'))
        >>> OutputNames(dataset)('data/rgb/set06/V000/I00001.png')
        'set06/V000/I00001.png'
    """

    def __init__(self, dataset: Any) -> None:
        roots: List[str] = []
        for leaf in leaf_datasets(dataset):
            prefix = getattr(leaf, 'data_prefix', None) or {}
            # The second is the name that mmdet has for it.
            for key in ('img_path', 'img'):
                if isinstance(prefix.get(key), str):
                    roots.append(osp.abspath(prefix[key]))
        try:
            self.root = osp.commonpath(roots) if roots else None
        except ValueError:  # on different drives
            self.root = None
        self._taken: Dict[str, str] = {}

    def __call__(self, img_path: str) -> str:
        """Name of an image.

        Args:
            img_path (str): Path of the image.

        Returns:
            str: Its path relative to the images' folder; the whole path,
            without what would lead out of a folder, if it lies elsewhere or
            the dataset has no such folder.
        """
        path = osp.abspath(img_path)
        if self.root is not None:
            name = osp.relpath(path, self.root)
            if not name.startswith(osp.pardir):
                return name
        return osp.splitdrive(path)[1].lstrip(osp.sep)

    def claim(self, file: str, img_path: str) -> None:
        """Say that a file is going to be written for an image.

        Args:
            file (str): Path of the file.
            img_path (str): Path of the image.

        Raises:
            ValueError: If the file is another image's.
        """
        owner = self._taken.setdefault(file, img_path)
        if owner != img_path:
            raise ValueError(
                f'{file!r} would be written for both {owner!r} and '
                f'{img_path!r}, whose names differ in the suffix only: '
                'rename one of them')
