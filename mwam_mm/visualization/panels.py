"""Pictures of modalities beside what a model predicts of them."""
import colorsys
from typing import (
    Any,
    Iterable,
    List,
    Mapping,
    Optional,
    Sequence,
    Tuple,
    Union,
)

import cv2
import numpy as np

__all__ = [
    'ABSENT', 'INVALID', 'distinct_palette', 'draw_boxes', 'draw_columns',
    'draw_labels', 'draw_sample', 'modality_picture', 'panel'
]

# Colours (R, G, B) of a pixel without a measurement and of an absent
# modality. The colour map contains neither.
INVALID = (255, 0, 255)
ABSENT = (64, 64, 64)
# Of an annotated box to be ignored.
IGNORED = (128, 128, 128)

_FONT, _MARGIN, _TITLE = cv2.FONT_HERSHEY_SIMPLEX, 4, 22
# Narrower pictures are enlarged, so that their titles fit.
_MIN_WIDTH = 240

Color = Sequence[int]


def modality_picture(image: np.ndarray,
                     invalid: Optional[np.ndarray] = None) -> np.ndarray:
    """Picture of one modality that a person can look at.

    Three channels of bytes are shown as they are. Other three channels are
    stretched between the 2nd and the 98th percentile. One channel, or the
    mean of any other number of channels, gets a colour map between them.

    Args:
        image (np.ndarray): Values of shape (H, W) or (H, W, C), three
            channels in the order R, G, B.
        invalid (np.ndarray, optional): Bool array of shape (H, W), True where
            there is no measurement. These pixels have the colour
            ``INVALID`` and do not count for the percentiles. Defaults to
            None, no such pixel.

    Returns:
        np.ndarray: RGB picture of shape (H, W, 3), uint8.

    Examples:
        >>> depth = np.array([[0., 1.], [2., 3.]])
        >>> modality_picture(depth, invalid=depth == 0).shape
        (2, 2, 3)
    """
    image = image[..., None] if image.ndim == 2 else image
    if invalid is None:
        invalid = np.zeros(image.shape[:2], bool)
    if image.shape[2] not in (1, 3):
        image = image.mean(2, keepdims=True, dtype=np.float64)
    if image.dtype != np.uint8 or image.shape[2] != 3:
        image = _stretch(image, ~invalid)
    if image.shape[2] == 1:
        image = cv2.cvtColor(
            cv2.applyColorMap(image, cv2.COLORMAP_VIRIDIS), cv2.COLOR_BGR2RGB)
    picture = image.copy()
    picture[invalid] = INVALID
    return picture


def _stretch(image: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Bytes whose range is that between two percentiles of the valid."""
    image = image.astype(np.float64)
    values = image[valid]
    if not values.size:
        return np.zeros(image.shape, np.uint8)
    low, high = np.percentile(values, (2, 98))
    scaled = (image - low) / (high - low if high > low else 1)
    return np.rint(scaled.clip(0, 1) * 255).astype(np.uint8)


def distinct_palette(size: int) -> List[Color]:
    """Colours for classes that have none.

    Args:
        size (int): Number of classes.

    Returns:
        list[tuple[int]]: ``size`` colours (R, G, B), always the same ones.
    """
    # The golden ratio spreads any number of hues around the circle.
    return [
        tuple(round(255 * c) for c in colorsys.hsv_to_rgb(
            i * 0.618034 % 1, 0.9, (1, 0.7)[i % 2])) for i in range(size)
    ]


def draw_labels(picture: np.ndarray,
                labels: np.ndarray,
                palette: Sequence[Color],
                opacity: float = 0.6) -> np.ndarray:
    """Lay a label map over a picture.

    Args:
        picture (np.ndarray): RGB picture of shape (H, W, 3), uint8.
        labels (np.ndarray): Class indices of shape (H, W). Where there is no
            such class, e.g. at the ignored 255, the picture stays.
        palette (Sequence[Sequence[int]]): Colour (R, G, B) of each class.
        opacity (float): Share of the class's colour. Defaults to 0.6.

    Returns:
        np.ndarray: RGB picture of the same shape.

    Raises:
        ValueError: If labels and picture have different sizes.
    """
    if labels.shape != picture.shape[:2]:
        raise ValueError(f'the label map has (height, width) {labels.shape}, '
                         f'but the picture {picture.shape[:2]}')
    palette = np.asarray(palette, np.float64).reshape(-1, 3)
    known = (labels >= 0) & (labels < len(palette))
    drawn = picture.copy()
    drawn[known] = np.rint((1 - opacity) * picture[known] +
                           opacity * palette[labels[known]])
    return drawn


def draw_boxes(picture: np.ndarray,
               boxes: np.ndarray,
               labels: np.ndarray,
               palette: Sequence[Color],
               names: Optional[Sequence[str]] = None,
               masks: Optional[Sequence[np.ndarray]] = None) -> np.ndarray:
    """Draw boxes, and masks where there are, on a picture.

    Args:
        picture (np.ndarray): RGB picture of shape (H, W, 3), uint8.
        boxes (np.ndarray): Corners (x1, y1, x2, y2) in pixels, of shape
            (N, 4).
        labels (np.ndarray): Class index of each box, of shape (N, ).
        palette (Sequence[Sequence[int]]): Colour (R, G, B) of each class.
        names (Sequence[str], optional): What to write at each box. Defaults
            to None, nothing.
        masks (Sequence[np.ndarray], optional): The pixels of each object,
            bool of shape (H, W). Defaults to None.

    Returns:
        np.ndarray: RGB picture of the same shape.
    """
    drawn = picture.copy()
    for mask, label in zip(() if masks is None else masks, labels):
        drawn = draw_labels(drawn, np.where(mask, label, -1), palette, 0.4)
    for i, (box, label) in enumerate(zip(boxes, labels)):
        x1, y1, x2, y2 = (int(round(float(v))) for v in box)
        color = tuple(int(c) for c in palette[int(label)])
        cv2.rectangle(drawn, (x1, y1), (x2, y2), color, 1)
        if names is not None:
            cv2.putText(drawn, names[i], (x1, max(y1 - 3, 9)), _FONT, 0.35,
                        color, 1, cv2.LINE_AA)
    return drawn


def draw_sample(picture: np.ndarray,
                sample: Any,
                classes: Sequence[str],
                palette: Sequence[Color],
                truth: bool = False,
                score_thr: float = 0.3) -> np.ndarray:
    """Draw what a data sample holds, a label map or boxes, on a picture.

    A label of the whole image leaves the picture as it is. Annotated boxes to
    be ignored are grey.

    Args:
        picture (np.ndarray): RGB picture of shape (H, W, 3), uint8.
        sample (SegDataSample | DetDataSample): The sample.
        classes (Sequence[str]): The classes' names.
        palette (Sequence[Sequence[int]]): Their colours (R, G, B).
        truth (bool): Whether to draw the annotations rather than the
            prediction. Defaults to False.
        score_thr (float): Predicted boxes of a lower score are not drawn.
            Defaults to 0.3.

    Returns:
        np.ndarray: RGB picture of the same shape.

    Raises:
        ValueError: If the sample holds none of them.
    """
    kind = 'gt' if truth else 'pred'
    if f'{kind}_sem_seg' in sample:
        labels = sample.get(f'{kind}_sem_seg').data[0].cpu().numpy()
        return draw_labels(picture, labels, palette)
    if f'{kind}_instances' not in sample:
        if f'{kind}_label' in sample:
            return picture
        raise ValueError(f'the sample has neither {kind}_sem_seg nor '
                         f'{kind}_instances nor {kind}_label, only '
                         f'{sample.keys()}')
    boxes = sample.get(f'{kind}_instances')
    labels = boxes.labels.cpu().numpy()
    names = [str(classes[label]) for label in labels]
    corners = _corners(boxes)
    masks = boxes.masks if 'masks' in boxes else None
    if hasattr(masks, 'to_ndarray'):
        masks = masks.to_ndarray()
    elif masks is not None:
        masks = masks.cpu().numpy()
    if not truth:
        scores = boxes.scores.cpu().numpy()
        kept = scores >= score_thr
        names = [f'{n} {s:.2f}' for n, s in zip(names, scores) if
                 s >= score_thr]
        corners, labels = corners[kept], labels[kept]
        masks = None if masks is None else masks[kept]
    elif 'ignored_instances' in sample:
        ignored = _corners(sample.ignored_instances)
        picture = draw_boxes(picture, ignored, np.zeros(len(ignored), int),
                             [IGNORED], ['ignored'] * len(ignored))
    return draw_boxes(picture, corners, labels, palette, names, masks)


def _corners(boxes: Any) -> np.ndarray:
    return getattr(boxes.bboxes, 'tensor', boxes.bboxes).cpu().numpy()


def draw_columns(pictures: Mapping[str, Optional[np.ndarray]],
                 predictions: Mapping[str, Any],
                 classes: Optional[Sequence[str]] = None,
                 palette: Union[None, str, Sequence[Color]] = None,
                 truth: Any = None,
                 score_thr: float = 0.3) -> np.ndarray:
    """Draw every modality of a sample beside its truth and predictions.

    The titles name the labels of whole images.

    Args:
        pictures (Mapping[str, np.ndarray | None]): Modality to its RGB
            picture of shape (H, W, 3), uint8, or None if it is absent. Truth
            and predictions are drawn on the first one that is there.
        predictions (Mapping[str, SegDataSample | DetDataSample]): Name of a
            combination of modalities to the prediction from it; '' as the
            name of a prediction from all that is there.
        classes (Sequence[str], optional): The classes' names. Defaults to
            None, their numbers.
        palette (Sequence[Sequence[int]], optional): Their colours (R, G, B).
            Defaults to None, some distinct ones.
        truth (SegDataSample | DetDataSample, optional): The sample with its
            annotations. Defaults to None, no such column.
        score_thr (float): Predicted boxes of a lower score are not drawn.
            Defaults to 0.3.

    Returns:
        np.ndarray: RGB picture, uint8.

    Raises:
        ValueError: If all modalities are absent.
    """
    samples = [*predictions.values(), *([] if truth is None else [truth])]
    if not classes:
        classes = range(1 + max(map(_highest_label, samples), default=0))
    classes = list(map(str, classes))
    if not isinstance(palette, (list, tuple)) or len(palette) < len(classes):
        palette = distinct_palette(len(classes))
    ground = next((p for p in pictures.values() if p is not None), None)
    if ground is None:
        raise ValueError(f'all modalities are absent: {list(pictures)}')
    columns: List[Tuple[str, Optional[np.ndarray]]] = list(pictures.items())
    if truth is not None:
        columns.append((_title('truth', truth, classes, 'gt'), draw_sample(
            ground, truth, classes, palette, truth=True)))
    for name, prediction in predictions.items():
        title = f'from {name}' if name else 'prediction'
        columns.append((_title(title, prediction, classes), draw_sample(
            ground, prediction, classes, palette, score_thr=score_thr)))
    if any('pred_label' in one or 'gt_label' in one for one in samples):
        return panel(columns)  # the titles name the classes
    return panel(columns, dict(zip(classes, palette)))


def _title(name: str,
           sample: Any,
           classes: Sequence[str],
           kind: str = 'pred') -> str:
    """The title of a column, with the label that a whole image has."""
    if f'{kind}_label' not in sample:
        return name
    words = [classes[int(i)] for i in sample.get(f'{kind}_label')]
    if kind == 'pred' and 'pred_score' in sample:
        words.append(f'{float(sample.pred_score.max()):.2f}')
    return f'{name}: {" ".join(words)}'


def _highest_label(sample: Any) -> int:
    """The highest class that a sample holds, apart from the ignored 255."""
    highest = 0
    for name, labels in sample.items():
        if name.endswith('_sem_seg'):
            labels = labels.data[labels.data != 255]
        elif name.endswith('_instances'):
            labels = labels.get('labels')  # none without annotations
        elif not name.endswith('_label'):
            continue
        if labels is not None and labels.numel():
            highest = max(highest, int(labels.max()))
    return highest


def panel(columns: Iterable[Tuple[str, Optional[np.ndarray]]],
          legend: Mapping[str, Color] = {}) -> np.ndarray:
    """Put titled pictures side by side.

    Args:
        columns (Iterable[tuple[str, np.ndarray | None]]): Title and RGB
            picture of each column, all pictures of one shape (H, W, 3) and
            uint8. None stands for an absent modality and gives a grey column.
        legend (Mapping[str, Sequence[int]]): Names and colours (R, G, B) to
            explain below. Defaults to none.

    Returns:
        np.ndarray: RGB picture, uint8.

    Raises:
        ValueError: If there is no picture, or the pictures have different
            shapes.
    """
    columns = list(columns)
    shapes = {p.shape for _, p in columns if p is not None}
    if len(shapes) != 1:
        raise ValueError('the pictures of a panel must have one shape, but '
                         f'have {sorted(shapes)}')
    shape, = shapes
    factor = -(-_MIN_WIDTH // shape[1])
    drawn = []
    for title, picture in columns:
        if picture is None:
            picture = np.full(shape, ABSENT, np.uint8)
            title += ' (absent)'
        picture = picture.repeat(factor, 0).repeat(factor, 1)
        strip = np.full((_TITLE, picture.shape[1], 3), 255, np.uint8)
        _write(strip, title, _MARGIN)
        drawn.append(
            cv2.copyMakeBorder(
                np.concatenate([strip, picture]),
                0,
                _MARGIN,
                _MARGIN,
                0,
                cv2.BORDER_CONSTANT,
                value=(255, 255, 255)))
    whole = np.concatenate(drawn, 1)
    rows, x = [], whole.shape[1]
    for name, color in legend.items():
        width = _text_width(name) + 28
        if x + width > whole.shape[1]:
            rows.append(
                np.full((_TITLE, whole.shape[1], 3), 255, np.uint8))
            x = _MARGIN
        rows[-1][5:-5, x:x + 12] = color
        _write(rows[-1], name, x + 16)
        x += width
    return np.concatenate([whole, *rows])


def _text_width(text: str) -> int:
    return cv2.getTextSize(text, _FONT, 0.45, 1)[0][0]


def _write(strip: np.ndarray, text: str, x: int) -> None:
    cv2.putText(strip, text, (x, 15), _FONT, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
