"""Detection dataset whose samples have one file per modality."""
import math
import os.path as osp
from collections import defaultdict
from functools import cached_property
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

import mmengine.fileio as fileio
from mmdet.datasets import CocoDataset
from mmengine.logging import print_log

from mwam_mm.registry import DATASETS

from .file_names import FileNames, name_in_folder
from .transforms import check_pipeline, keep_absent, pack_paths
from .transforms.pipeline import flatten_pipeline, loaded_modalities

__all__ = ['MultiModalCocoDataset']

_STOCK_PREFIXES = ('img', 'seg')
_STOCK_PATHS = ('img_path', 'seg_map_path')


@DATASETS.register_module()
class MultiModalCocoDataset(CocoDataset):
    """:class:`CocoDataset` with further image files beside each image.

    The data dict has ``img_path`` and one path per further modality, which
    the json may name: an image entry with ``depth_path`` beside
    ``file_name``. Where it does not, every entry of ``data_prefix`` besides
    ``img_path`` is the folder of a modality, whose files have the same path
    relative to their folder as the image, apart from the suffix. So a plain
    COCO json of the RGB images and parallel folders are enough.

    .. code-block:: none

        data_root
        ├── annotations/train.json     ann_file='annotations/train.json'
        ├── image/train/a/0001.jpg     img_path='image/train'
        ├── depth/train/a/0001.png     depth_path='depth/train'
        └── thermal/train/a/0001.tiff  thermal_path='thermal/train'

    Paths in the json are relative to the folder that ``data_prefix`` has for
    them, or to ``data_root`` where it has none. An image without the path of
    an optional modality, for which ``data_prefix`` has no folder, lacks it if
    others have it. :class:`LoadModalities` checks whether the files exist.

    Where the pipeline loads no ``img_path``, as with modalities none of which
    is called ``rgb``, there need be no such image: ``file_name`` then gives
    the names of the others, and ``img_path`` names the file of the first.

    Unlike the base class, which leaves out what does not fit without a word,
    this one reports it. Boxes that reach out of their image are clipped, and
    those smaller than a pixel after that are left out; the log says how many
    and which is the first. Detections on boxes with ``iscrowd`` or ``ignore``
    are neither right nor wrong. Images without a box are kept unless
    ``filter_cfg=dict(filter_empty_gt=True)``.

    Args:
        *args: Positional arguments of :class:`CocoDataset`.
        data_prefix (dict[str, str]): Path key to the folder of the files;
            ``img`` is mmdet's name of ``img_path``. Defaults to
            dict(img_path='').
        img_suffix (str, optional): Ending of the images' names that differs in
            the other modalities, e.g. '_rgb.png'. Defaults to None, which
            means the file extension.
        modality_suffix (dict[str, str]): Path key to the ending that the
            names of that modality's files have in its place. A key not named
            here has the ending of the image. Defaults to dict().
        file_names (dict[str, str]): Path key to the pattern of the names of
            those files, where they do not differ in their endings only:
            ``dict(img_path='rgb_{}.jpg', depth_path='depth_{}.png')``, see
            :class:`FileNames`. It takes the place of the suffixes. Defaults
            to dict().
        ignored_classes (Sequence[str]): Categories of the json to leave out.
            Defaults to ().
        **kwargs: Keyword arguments of :class:`CocoDataset`. The classes, in
            ``metainfo``, come in the order of the json's categories, which
            are taken where ``metainfo`` has none.

    Raises:
        FileNotFoundError: If there is no ``ann_file``.
        ValueError: If ``ann_file`` is no COCO json; if two images or two
            annotations have one id, or two images one file; if a category is
            no class, a class no category, or their orders differ; if a box has
            no area or lies outside its image, or a polygon has less than three
            points; if the pipeline loads masks and a box has none; if a key of
            ``data_prefix`` or ``modality_suffix`` does not fit; or if the
            pipeline holds a stock transform that does not work on a stacked
            image (see :func:`check_pipeline`). The message names the file,
            image and annotation.

    Examples:
        >>> train_dataset = dict(
        ...     type='mwam_mm.MultiModalCocoDataset',
        ...     data_root='data/my_dataset',
        ...     ann_file='annotations/train.json',
        ...     data_prefix=dict(
        ...         img_path='image/train',
        ...         depth_path='depth/train',
        ...         thermal_path='thermal/train'),
        ...     modality_suffix=dict(depth_path='.png', thermal_path='.tiff'),
        ...     metainfo=dict(classes=('person', 'car')),
        ...     pipeline=[
        ...         dict(type='mwam_mm.LoadModalities', modalities=dict(
        ...             rgb=dict(channels=3, bgr_to_rgb=True),
        ...             depth=dict(channels=1, scale=0.001, invalid_value=0),
        ...             thermal=dict(channels=1))),
        ...         dict(type='LoadAnnotations', with_bbox=True),
        ...         dict(type='RandomFlip', prob=0.5),
        ...         dict(type='PackDetInputs')
        ...     ])
    """

    # The base class has the 80 classes of COCO here.
    METAINFO = dict()
    # Whether a box that cannot be used is an error. Where users cannot correct
    # the file, as it is a publisher's, the box is left out and logged instead.
    STRICT = True

    def __init__(self,
                 *args,
                 data_prefix: Mapping[str, str] = dict(img_path=''),
                 img_suffix: Optional[str] = None,
                 modality_suffix: Mapping[str, str] = dict(),
                 file_names: Mapping[str, str] = dict(),
                 ignored_classes: Sequence[str] = (),
                 **kwargs) -> None:
        # The base class builds the whole dataset in its constructor.
        data_prefix = dict(data_prefix)
        data_prefix.setdefault('img', data_prefix.pop('img_path', ''))
        self.img_suffix = img_suffix
        self.modality_suffix = dict(modality_suffix)
        self.file_names = dict(file_names)
        self.ignored_classes = tuple(ignored_classes)
        self._check_keys(data_prefix)
        super().__init__(*args, data_prefix=data_prefix, **kwargs)
        keep_absent(self.pipeline)
        check_pipeline(self.pipeline)
        pack_paths(self.pipeline)

    def _check_keys(self, data_prefix: Mapping[str, str]) -> None:
        folders = set(data_prefix) - set(_STOCK_PREFIXES)
        misnamed = [key for key in folders if not key.endswith('_path')]
        if misnamed:
            raise ValueError(
                f'data_prefix has keys {sorted(misnamed)}; the key of a '
                "modality is its path_key and ends in '_path', e.g. "
                "'depth_path'")
        if self.file_names and (self.modality_suffix or self.img_suffix):
            raise ValueError('file_names takes the place of img_suffix and '
                             'modality_suffix: give either')
        unused = sorted(set(self.file_names) - folders - {'img_path'})
        if unused or self.file_names and 'img_path' not in self.file_names:
            raise ValueError(
                f'file_names has patterns for {sorted(self.file_names)}, but '
                f'must have one for img_path and may have others for '
                f'{sorted(folders)}')
        self._names = FileNames(self.file_names)
        unused = sorted(set(self.modality_suffix) - folders)
        if unused:
            raise ValueError(
                f'modality_suffix names {unused}, but data_prefix has the '
                f'modality keys {sorted(folders)}')

    def read(self) -> Tuple[dict, str]:
        """Read the annotations.

        Returns:
            tuple[dict, str]: Content of a COCO json, and the name of its
            source for messages.
        """
        where = f'ann_file={self.ann_file!r}'
        if not fileio.exists(self.ann_file, backend_args=self.backend_args):
            raise FileNotFoundError(f'{where} is missing')
        try:
            return fileio.load(
                self.ann_file, backend_args=self.backend_args), where
        except (TypeError, ValueError) as error:
            raise ValueError(f'{where} is not a json file: {error}') from error

    def read_checked(self) -> dict:
        """Read and check the annotations.

        Returns:
            dict: Content of a COCO json. Boxes are clipped to their images,
            and those that cannot be used are left out; the log says how many.
        """
        content, where = self.read()
        images, annotations = self._index(content, where)
        self._match_classes(content, where)
        repaired: Dict[str, List[str]] = defaultdict(list)
        kept = []
        for img_id, image in images.items():
            for annotation in annotations.get(img_id, ()):
                at = (f'{where}: annotation {annotation.get("id")!r} of image '
                      f'{img_id!r} ({image["file_name"]!r})')
                annotation = self._repair(annotation, image, at, repaired)
                if annotation is not None:
                    kept.append(annotation)
        for what, which in repaired.items():
            print_log(
                f'{len(which)} box(es) {what}; the first: {which[0]}',
                logger='current',
                level=30)
        return dict(content, annotations=kept)

    def load_data_list(self) -> List[dict]:
        """List the images with their boxes.

        Returns:
            list[dict]: One dict per image with ``img_path``, one path per
            modality, and the other keys of :class:`CocoDataset`.
        """
        content = self.read_checked()
        boxes: Dict[int, List[dict]] = defaultdict(list)
        for annotation in content['annotations']:
            boxes[annotation['image_id']].append(annotation)
        data_list = [
            self.parse_data_info(
                dict(
                    raw_img_info=dict(image, img_id=image['id']),
                    raw_ann_info=boxes[image['id']]))
            for image in content['images']
        ]
        for modality in loaded_modalities(self.pipeline):
            key = modality.path_key
            # Where no image has it, the config has forgotten something.
            if modality.optional and any(key in x for x in data_list):
                for data_info in data_list:
                    data_info.setdefault(key, None)
        self._check_masks(data_list)
        # The base class filters by this mapping.
        self.cat_img_map = defaultdict(set)
        for data_info in data_list:
            for instance in data_info['instances']:
                self.cat_img_map[self.cat_ids[instance['bbox_label']]].add(
                    data_info['img_id'])
        return data_list

    def _check_masks(self, data_list: List[dict]) -> None:
        """Refuse a pipeline that loads masks where there are none."""
        if not any(
                getattr(transform, 'with_mask', False)
                for transform in flatten_pipeline(self.pipeline)):
            return
        for data_info in data_list:
            for instance in data_info['instances']:
                if 'mask' not in instance:
                    raise ValueError(
                        'the pipeline loads masks (with_mask=True), but in '
                        f'the annotations of {data_info["img_path"]!r} the '
                        f'box {instance["bbox"]} (x1, y1, x2, y2) has no '
                        'segmentation. Add it, or train a detector that '
                        'needs boxes only')

    def filter_data(self) -> List[dict]:
        """Filter by ``filter_cfg``.

        Raises:
            ValueError: If nothing is left.
        """
        data_list = super().filter_data()
        if not data_list:
            raise ValueError(f'filter_cfg={self.filter_cfg} leaves none of '
                             f'{len(self.data_list)} images')
        return data_list

    @staticmethod
    def _index(content: dict,
               where: str) -> Tuple[Dict[int, dict], Dict[int, List[dict]]]:
        """Index the images by id and the annotations by image."""
        keys = ('images', 'annotations', 'categories')
        if not (isinstance(content, dict) and all(
                isinstance(content.get(key), list) for key in keys)):
            raise ValueError(f'{where} is not a COCO json, which has lists '
                             f'of {list(keys)}')
        images: Dict[int, dict] = {}
        by_file: Dict[Tuple[str, ...], dict] = {}
        for image in content['images']:
            missing = [
                key for key in ('id', 'file_name', 'height', 'width')
                if key not in image
            ]
            if missing:
                raise ValueError(f'{where}: image {image} has no {missing}')
            size = image['height'], image['width']
            if not all(isinstance(v, (int, float)) for v in size):
                raise ValueError(f'{where}: image {image["file_name"]!r} has '
                                 f'height, width = {size}; expected numbers')
            if images.setdefault(image['id'], image) is not image:
                raise ValueError(
                    f'{where}: images {images[image["id"]]["file_name"]!r} '
                    f'and {image["file_name"]!r} have one id, '
                    f'{image["id"]!r}')
            # The objects of one entry would be background of the other.
            files = tuple(str(image[key]) for key in sorted(image)
                          if key == 'file_name' or key.endswith('_path'))
            if by_file.setdefault(files, image) is not image:
                raise ValueError(
                    f'{where}: the images {by_file[files]["id"]!r} and '
                    f'{image["id"]!r} are one file, {image["file_name"]!r}: '
                    'keep one, with the annotations of both')
        if not images:
            raise ValueError(f'{where} has no image')
        annotations: Dict[int, List[dict]] = defaultdict(list)
        by_id: Dict[int, dict] = {}
        for annotation in content['annotations']:
            # The metric would take one's box for both.
            if 'id' in annotation and by_id.setdefault(
                    annotation['id'], annotation) is not annotation:
                raise ValueError(
                    f'{where}: two annotations have id={annotation["id"]!r}, '
                    f'of the images {by_id[annotation["id"]]["image_id"]!r} '
                    f'and {annotation.get("image_id")!r}: number them anew')
            img_id = annotation.get('image_id')
            if img_id not in images:
                raise ValueError(
                    f'{where}: annotation {annotation.get("id")!r} has '
                    f'image_id={img_id!r}, which no image has')
            annotations[img_id].append(annotation)
        return images, annotations

    def _match_classes(self, content: dict, where: str) -> None:
        """Map the categories to the classes."""
        categories = {c['id']: c['name'] for c in content['categories']}
        names = [
            name for name in categories.values()
            if name not in self.ignored_classes
        ]
        classes = list(self._metainfo.setdefault('classes', tuple(names)))
        advice = (f'The categories are {list(categories.values())}, '
                  f'metainfo["classes"] is {classes}')
        for name in names:
            if name not in classes:
                raise ValueError(
                    f'{where} has the category {name!r}, which is no class. '
                    f'{advice}; leave categories out by ignored_classes')
        for name in [*classes, *self.ignored_classes]:
            if name not in categories.values():
                raise ValueError(f'{where} has no category for the class '
                                 f'{name!r}. {advice}')
        if len(set(names)) < len(content['categories']) - len(
                set(self.ignored_classes)):
            raise ValueError(f'{where} has a category twice. {advice}')
        # mmdet's metrics number the classes in the order of the json.
        if names != classes:
            raise ValueError(f'{where} has the classes in another order. '
                             f'{advice}; give them in the order of the json')
        self.cat_ids = [
            cat_id for cat_id, name in categories.items() if name in classes
        ]
        self.cat2label = {
            cat_id: label
            for label, cat_id in enumerate(self.cat_ids)
        }
        self._known_ids = set(categories)

    def _repair(self, annotation: dict, image: dict, at: str,
                repaired: Dict[str, List[str]]) -> Optional[dict]:
        """What the metric and the base class take for the same object; None
        leaves the annotation out."""
        category = annotation.get('category_id')
        if category not in self._known_ids:
            raise ValueError(f'{at} has category_id={category!r}, which no '
                             'category has')
        if category not in self.cat2label:
            return None
        box = self._clip(annotation.get('bbox'), image, at, repaired)
        if box is None:
            return None
        annotation = dict(annotation)
        polygons = annotation.get('segmentation')
        if isinstance(polygons, list) and not all(
                isinstance(polygon, (list, tuple)) and len(polygon) >= 6
                and len(polygon) % 2 == 0 for polygon in polygons):
            # pycocotools would take four numbers for a box.
            self._refuse(
                f'{at} has segmentation={polygons}; expected polygons [x1, '
                'y1, x2, y2, x3, y3, ...] of three points or more', repaired,
                'have no mask, as their polygons are none')
            del annotation['segmentation']
        # The base class drops boxes with "ignore" or a negative area, as if
        # nothing were there.
        ignore = annotation.pop('ignore', 0) or annotation.get('iscrowd', 0)
        area = annotation.get('area') or 0
        return dict(
            annotation,
            bbox=box,
            area=area if area > 0 else box[2] * box[3],
            iscrowd=int(bool(ignore)))

    def _clip(self, box: Any, image: dict, at: str,
              repaired: Dict[str, List[str]]) -> Optional[List[float]]:
        """Clip a box to its image; None if nothing is left."""
        if not (isinstance(box, (list, tuple)) and len(box) == 4 and all(
                isinstance(v, (int, float)) and math.isfinite(v)
                for v in box)):
            raise ValueError(f'{at} has bbox={box!r}; expected [x, y, width, '
                             'height]')
        x, y, w, h = box
        width, height = image['width'], image['height']
        if w <= 0 or h <= 0:
            return self._refuse(
                f'{at} has bbox={box}, which has no area', repaired)
        x1, y1 = max(x, 0), max(y, 0)
        x2, y2 = min(x + w, width), min(y + h, height)
        if x2 <= x1 or y2 <= y1:
            return self._refuse(
                f'{at} has bbox={box}, which is outside the image of '
                f'{width} x {height} (width x height)', repaired)
        # Files of floats are rounded, which is not worth a line of the log.
        if max(x1 - x, y1 - y, x + w - x2, y + h - y2) > 0.01:
            repaired['reach out of their image and are clipped'].append(at)
        w, h = x2 - x1, y2 - y1
        if w < 1 or h < 1:
            repaired['are smaller than a pixel and are left out'].append(at)
            return None
        return [x1, y1, w, h]

    def _refuse(self,
                message: str,
                repaired: Dict[str, List[str]],
                what: str = 'cannot be used and are left out') -> None:
        if self.STRICT:
            raise ValueError(f'{message}. Correct or remove it')
        repaired[what].append(message)

    def parse_data_info(self, raw_data_info: dict) -> dict:
        """Add the paths of the further modalities to an image's dict."""
        data_info = super().parse_data_info(raw_data_info)
        image = raw_data_info['raw_img_info']
        named = [
            key for key, value in image.items()
            if key.endswith('_path') and key not in _STOCK_PATHS
            and isinstance(value, str)
        ]
        folders = {
            key: folder
            for key, folder in self.data_prefix.items()
            if key not in _STOCK_PREFIXES
        }
        file_name = name_in_folder(image['file_name'], self.data_prefix['img'])
        for key in dict.fromkeys([*folders, *named]):
            name = image[key] if key in named else self._name(file_name, key)
            data_info[key] = osp.join(
                folders.get(key, self.data_root or ''), name)
        keys = self._path_keys
        paths = [data_info[key] for key in keys if data_info.get(key)]
        if paths and 'img_path' not in keys:
            data_info['img_path'] = paths[0]
        return data_info

    @cached_property
    def _path_keys(self) -> List[str]:
        """The keys of the files that the pipeline loads."""
        return [m.path_key for m in loaded_modalities(self.pipeline)]

    def _name(self, file_name: str, key: str) -> str:
        """Derive the name of a modality's file from that of the image."""
        if self.file_names:
            common = self._names.common('img_path', file_name)
            if common is None:
                raise ValueError(
                    f'ann_file={self.ann_file!r}: the image {file_name!r} is '
                    "not called as file_names['img_path']="
                    f'{self.file_names["img_path"]!r} says')
            return self._names.name(
                key if key in self._names else 'img_path', common)
        suffix = self.img_suffix
        if suffix is None:
            suffix = osp.splitext(file_name)[1]
        elif not file_name.endswith(suffix):
            raise ValueError(f'ann_file={self.ann_file!r}: the image '
                             f'{file_name!r} does not end in '
                             f'img_suffix={suffix!r}')
        stem = file_name[:len(file_name) - len(suffix)]
        return stem + self.modality_suffix.get(key, suffix)
