"""M3FD: scenes of all kinds in RGB and infrared."""
import os.path as osp
from typing import Dict, Iterator, Tuple

from mwam_mm.registry import DATASETS

from .benchmark_det import BenchmarkDetDataset, read_list

__all__ = ['M3FDDataset']


@DATASETS.register_module()
class M3FDDataset(BenchmarkDetDataset):
    """M3FD, 4200 RGB-infrared pairs of six classes.

    `Target-aware Dual Adversarial Learning and a Multi-scenario
    Multi-Modality Benchmark to Fuse Infrared and Visible for Object Detection
    <https://github.com/JinyuanLiu-CV/TarDAL>`_, in the layout of its
    publishers (``M3FD_Detection``):

    .. code-block:: none

        data_root
        ├── Vis/NNNNN.png         8-bit colour
        ├── Ir/NNNNN.png          8-bit infrared
        ├── Annotation/NNNNN.xml  Pascal VOC, for both modalities
        └── meta/{train,val}.txt  names of the splits; may be missing

    The publishers give no split with the data. Lists in ``meta``, such as
    those of their code, are followed. Without them every fifth pair of the
    sorted names, from the first on, is for validation (840) and the others
    are for training (3360). The pairs are frames of videos and neighbours are
    alike, so scores on such a split are high: compare only on the same.

    Args:
        data_root (str): Folder with Vis, Ir and Annotation.
        split (str): 'train' or 'val'. Defaults to 'train'.
        **kwargs: Other arguments of :class:`MultiModalCocoDataset`, apart
            from those that say where files are.

    Examples:
        >>> train_dataset = dict(
        ...     type='mwam_mm.M3FDDataset',
        ...     data_root='data/m3fd',
        ...     split='train',
        ...     pipeline=[
        ...         dict(type='mwam_mm.LoadModalities', modalities=dict(
        ...             rgb=dict(channels=3, bgr_to_rgb=True),
        ...             infrared=dict(channels=1, file_channels=[0]))),
        ...         dict(type='LoadAnnotations', with_bbox=True),
        ...         dict(type='PackDetInputs')
        ...     ])
    """
    METAINFO = dict(
        classes=('People', 'Car', 'Bus', 'Lamp', 'Motorcycle', 'Truck'),
        palette=[(220, 20, 60), (0, 0, 142), (0, 60, 100), (250, 170, 30),
                 (0, 0, 230), (0, 0, 70)])
    SPLITS = ('train', 'val')

    def samples(self) -> Iterator[Tuple[Dict[str, str], str]]:
        """List the pairs of the split."""
        pairs = {
            osp.splitext(osp.basename(paths['img_path']))[0]:
            (paths, annotation)
            for paths, annotation in self.pairs(
                'Annotation/{}.xml', img_path='Vis', infrared_path='Ir')
        }
        meta = osp.join(self.data_root, 'meta')
        if not osp.isdir(meta):
            for i, stem in enumerate(sorted(pairs)):
                if (i % 5 == 0) == (self.split == 'val'):
                    yield pairs[stem]
            return
        path = osp.join(meta, f'{self.split}.txt')
        for name in read_list(path):
            stem = osp.splitext(osp.basename(name))[0]
            if stem not in pairs:
                raise FileNotFoundError(f'{path!r} names {name!r}, of which '
                                        'there is no image in Vis')
            yield pairs[stem]
