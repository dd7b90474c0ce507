"""Decoding of a file's bytes to the values that the file declares."""
import io
import struct
from contextlib import ExitStack, contextmanager
from typing import Dict, Iterator, Optional, Tuple

import mmcv
import numpy as np
from PIL import Image

__all__ = [
    'check_upright', 'decode', 'decode_exactly', 'may_exceed_bytes',
    'tiff_size'
]

_NPY_MAGIC = b'\x93NUMPY'
_NPZ_MAGIC = b'PK\x03\x04'
_PNG_MAGIC = b'\x89PNG\r\n\x1a\n'
_JPEG_MAGIC = b'\xff\xd8'
# Classic and big TIFF, each in both byte orders.
_TIFF_MAGICS = (b'II*\0', b'MM\0*', b'II+\0', b'MM\0+')

_ORIENTATION = 0x0112  # the tag of EXIF, which is that of TIFF
# PhotometricInterpretation of TIFF. Samples of the first two are stored as
# they are measured; 0 says only that viewers draw small values bright.
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _YCBCR = 0, 1, 2, 3, 6
_JPEG_IN_TIFF = 7
_STRAIGHT_ALPHA = 2  # ExtraSamples: RGB is not multiplied by it


def _refuse_turned(orientation: int, tag: str, where: str) -> None:
    if orientation in range(2, 9):
        raise ValueError(
            f'{where} is turned by its {tag} (orientation {orientation}): '
            'viewers show it otherwise than it is stored. Write it upright, '
            'e.g. with PIL.ImageOps.exif_transpose, and check its labels')


def _exif_orientation(exif_bytes: bytes) -> int:
    exif = Image.Exif()
    try:
        exif.load(exif_bytes)
    except (SyntaxError, struct.error):
        return 1  # no viewer reads it either
    return exif.get(_ORIENTATION, 1)


def _png_chunks(content: bytes) -> Dict[bytes, Tuple[int, int]]:
    """Kind of each chunk of a PNG to where its first one starts and ends."""
    chunks: Dict[bytes, Tuple[int, int]] = {}
    start, total = len(_PNG_MAGIC), len(content)
    while start + 8 <= total:
        length, kind = struct.unpack_from('>I4s', content, start)
        chunks.setdefault(kind, (start + 8, start + 8 + length))
        start += length + 12
    return chunks


def _check_png_upright(content: bytes, chunks: dict, where: str) -> None:
    if b'eXIf' in chunks:
        _refuse_turned(
            _exif_orientation(content[slice(*chunks[b'eXIf'])]), 'EXIF tag',
            where)


def check_upright(content: bytes, where: str) -> None:
    """Refuse a JPEG or PNG that is stored turned, as cameras do.

    Its pixels lie otherwise than viewers, annotation programs and stock
    loading show them, so neither boxes nor other modalities would fit.

    Args:
        content (bytes): The file, or its beginning.
        where (str): How the message calls it.

    Raises:
        ValueError: If its EXIF tag turns or mirrors it.
    """
    if content.startswith(_JPEG_MAGIC):
        start = content.find(b'Exif\0\0', 0, 1024)
        if start >= 0:  # longer than that it cannot be
            _refuse_turned(
                _exif_orientation(content[start:start + 2**16]), 'EXIF tag',
                where)
    elif content.startswith(_PNG_MAGIC):
        _check_png_upright(content, _png_chunks(content), where)


def may_exceed_bytes(content: bytes) -> bool:
    """Whether a file is of a kind that may hold values above 255.

    Args:
        content (bytes): The first 32 bytes of the file, or more.

    Returns:
        bool: True for a PNG of 16 bits and any TIFF.
    """
    if content.startswith(_PNG_MAGIC):
        return content[24:25] == b'\x10'  # of IHDR, which comes first
    return content.startswith(_TIFF_MAGICS)


def _refuse_empty(content: bytes, where: str) -> None:
    if not content:
        raise ValueError(f'{where} cannot be read: it is empty, of 0 bytes. '
                         'Copy or write it again, or leave the sample out')


def decode(content: bytes, flag: str, backend: str, where: str) -> np.ndarray:
    """Decode an image with a backend of mmcv, naming ``where`` if it fails.

    Args:
        content (bytes): The file.
        flag (str): How to convert, see :func:`mmcv.imfrombytes`.
        backend (str): Backend of :func:`mmcv.imfrombytes`.
        where (str): How the message calls the file.

    Raises:
        ValueError: If it cannot be read.
    """
    _refuse_empty(content, where)
    try:
        image = mmcv.imfrombytes(content, flag=flag, backend=backend)
    except Exception as error:
        raise ValueError(f'{where} cannot be read: {error}') from error
    if image is None:
        raise ValueError(
            f'{where} cannot be read: it is damaged or of a format that the '
            f'backend {backend!r} does not know. Write it anew, e.g. as .png '
            "or .npy, or try imdecode_backend='pillow'")
    return image


def _decode_npz(content: bytes, key: Optional[str],
                where: str) -> np.ndarray:
    """The array of an ``.npz`` file that has a name, or its only one."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            names = arrays.files
            if key is None and len(names) == 1:
                key, = names
            if key in names:
                return arrays[key]
    except Exception as error:
        raise ValueError(f'{where} cannot be read: {error}') from error
    raise ValueError(
        f'{where} has the arrays {names}, but npz_key={key!r}: name one of '
        'them by npz_key of LoadModalities')


def decode_exactly(content: bytes,
                   backend: Optional[str],
                   where: str,
                   npz_key: Optional[str] = None) -> np.ndarray:
    """Decode an image, ``.npy`` or ``.npz`` to the values that it holds.

    What the file's header declares is compared with what comes out, so
    nothing is cut to 8 bits, multiplied by an alpha channel, inverted, or
    left out without a word. Only headers are read for that.

    Args:
        content (bytes): The file.
        backend (str, optional): Backend of :func:`mmcv.imfrombytes` for what
            is neither TIFF nor ``.npy``, which have a reader of their own.
            'tifffile' says that TIFFs keep the order of their channels, and
            reads the others as None does. None takes the backend that reads
            the file exactly: Pillow for grey and alpha, else OpenCV.
        where (str): How messages call the file.
        npz_key (str, optional): Name of the array in an ``.npz``. Defaults to
            None, its only one.

    Returns:
        np.ndarray: Of shape (H, W) or (H, W, C) and of the file's data type.
        Colour channels come as B, G, R(, further ones), except from ``.npy``
        and with 'tifffile'.

    Raises:
        ValueError: If it cannot be read, or not exactly, or is turned by its
            orientation tag.
    """
    _refuse_empty(content, where)
    if content.startswith(_NPZ_MAGIC):
        return _decode_npz(content, npz_key, where)
    if content.startswith(_NPY_MAGIC):
        try:
            return np.load(io.BytesIO(content), allow_pickle=False)
        except Exception as error:
            raise ValueError(f'{where} cannot be read: {error}') from error
    if content.startswith(_TIFF_MAGICS):
        return _decode_tiff(content, where, keep_order=backend == 'tifffile')
    declared = None
    if content.startswith(_PNG_MAGIC):
        declared = _png_samples(content, where)
    elif content.startswith(_JPEG_MAGIC):
        check_upright(content, where)
        declared = _jpeg_samples(content, where)
    if backend in (None, 'tifffile'):
        # OpenCV makes four channels of grey and alpha.
        backend = 'pillow' if declared == (2, 8) else 'cv2'
    image = decode(content, 'unchanged', backend, where)
    if declared is not None:
        channels, bits = declared
        found = 1 if image.ndim == 2 else image.shape[2]
        if found != channels or 8 * image.dtype.itemsize < bits:
            raise ValueError(
                f'{where} holds {channels} channel(s) of {bits} bits, but the '
                f'backend {backend!r} makes {found} channel(s) of '
                f'{image.dtype} of it. Leave imdecode_backend out, or write '
                'the file as .tiff or .npy')
    return image


def _png_samples(content: bytes,
                 where: str) -> Optional[Tuple[int, int]]:
    """Number of channels of a PNG and bits of each, None if damaged."""
    chunks = _png_chunks(content)
    _check_png_upright(content, chunks, where)
    if b'acTL' in chunks:
        raise ValueError(f'{where} is an animated PNG, and only its first '
                         'frame would be read. Write one file per frame')
    start, end = chunks.get(b'IHDR', (0, 0))
    if end - start != 13 or end > len(content):
        return None
    bits, color = content[start + 8:start + 10]
    if color == 0 and bits < 8:
        raise ValueError(
            f'{where} is a PNG of {bits} bit(s) a pixel, which decoders '
            'stretch to 0 to 255. Write its values with 8 bits')
    channels = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}.get(color)
    if channels is None:
        return None
    if color == 3:
        bits = 8  # of the palette's colours
    # One colour, or colours of the palette, are transparent. A grey level
    # that is so stays a value like the others.
    return channels + (channels == 3 and b'tRNS' in chunks), bits


def _jpeg_samples(content: bytes,
                  where: str) -> Optional[Tuple[int, int]]:
    """Number of channels of a JPEG and bits of each, None if damaged."""
    start = 2
    while start + 10 <= len(content) and content[start] == 0xff:
        marker = content[start + 1]
        if 0xc0 <= marker <= 0xcf and marker not in (0xc4, 0xc8, 0xcc):
            bits, channels = content[start + 4], content[start + 9]
            if channels == 4:
                raise ValueError(
                    f'{where} is a JPEG in CMYK, which decoders convert to '
                    'RGB, each in its way. Write it as RGB, or its four '
                    'channels as .tiff or .npy')
            return channels, bits
        if marker == 0xff:  # padding
            start += 1
        else:
            start += 2 + int.from_bytes(content[start + 2:start + 4], 'big')
    return None


@contextmanager
def _open_tiff(file, where: str) -> Iterator:
    """Open a TIFF, for the one image that it must hold.

    Overviews, which are the image in less detail, do not count.

    Args:
        file (str | BinaryIO): The file.
        where (str): How messages call it.

    Yields:
        tifffile.TiffPage: The image.
    """
    try:
        import tifffile
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f'{where} is a TIFF, which needs tifffile: '
                                  'pip install tifffile') from error
    with ExitStack() as stack:
        try:
            tiff = stack.enter_context(tifffile.TiffFile(file))
            pages = [page for page in tiff.pages if not page.is_reduced]
            if not pages or not pages[0].imagelength:
                raise ValueError('it holds no pixels')
        except Exception as error:
            raise ValueError(f'{where} is no image, or is damaged, and cannot '
                             f'be read: {error}') from error
        if len(pages) != 1:
            raise ValueError(
                f'{where} has {len(pages)} pages: which of them is the image '
                'is not known. Write one image, e.g. tifffile.imwrite(path, '
                "np.stack(pages, -1), planarconfig='contig', "
                "photometric='minisblack') if the pages are its channels")
        page, = pages
        tag = page.tags.get(_ORIENTATION)
        _refuse_turned(1 if tag is None else tag.value,
                       'TIFF tag Orientation', where)
        yield page


def tiff_size(path: str) -> Optional[Tuple[int, int]]:
    """Height and width of a TIFF, of which only the tags are read.

    Args:
        path (str): The file.

    Returns:
        tuple[int], optional: None if the file is no TIFF.

    Raises:
        ValueError: If it cannot be read, has several pages or is turned.
    """
    with open(path, 'rb') as file:
        if not file.read(4).startswith(_TIFF_MAGICS):
            return None
    with _open_tiff(path, repr(path)) as page:
        return page.imagelength, page.imagewidth


def _decode_tiff(content: bytes, where: str, keep_order: bool) -> np.ndarray:
    with _open_tiff(io.BytesIO(content), where) as page:
        photometric = int(page.photometric)
        is_color = photometric in (_RGB, _PALETTE, _YCBCR)
        if photometric not in (
                _WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _YCBCR) or (
                    photometric == _YCBCR
                    and int(page.compression) != _JPEG_IN_TIFF):
            name = getattr(page.photometric, 'name', page.photometric)
            raise ValueError(
                f'{where} is a TIFF in the colour space {name}, which is not '
                'converted. Write it as RGB, or its values as they are with '
                "photometric='minisblack'")
        try:
            image = page.asarray(squeeze=False, maxworkers=1)
        except Exception as error:
            # ImportError is a codec that Python lacks.
            if not isinstance(error, ImportError) and (
                    'imagecodecs' not in str(error)):
                raise ValueError(
                    f'{where} cannot be read: {error}') from error
            image = _decode_without_codec(content, page, where)
            is_bgr = True
        else:
            image = _as_stored(image, page, where)
            is_bgr = False
    if is_color and image.shape[-1] < 3:
        raise ValueError(
            f'{where} cannot be read: it is damaged, a TIFF in colour with '
            f'{image.shape[-1]} channel(s)')
    if is_color and is_bgr == keep_order:
        image = image[..., [2, 1, 0, *range(3, image.shape[2])]]
    return image


def _as_stored(image: np.ndarray, page, where: str) -> np.ndarray:
    """The samples of a page as (H, W, C), in the order of the file.

    Args:
        image (np.ndarray): As tifffile gives them, of shape (planes, depth,
            H, W, samples of a plane).
        page (tifffile.TiffPage): Their tags.
        where (str): How messages call the file.
    """
    planes, depth = image.shape[:2]
    if depth != 1:
        raise ValueError(f'{where} is a volume of {depth} slices; expected '
                         'one image')
    if planes == 1:
        image = image[0, 0]
    else:
        image = np.moveaxis(image[:, 0, ..., 0], 0, -1)
    if int(page.photometric) == _PALETTE:
        image = _colors(page, where)[image[..., 0]]
    return image


def _colors(page, where: str) -> np.ndarray:
    """R, G and B of each value of a palette TIFF, uint8 (values, 3)."""
    if page.colormap is not None and page.samplesperpixel == 1:
        colors = page.colormap.T // 256
        # Writers stretch 8 bits to 16 by either factor.
        if any((colors * factor == page.colormap.T).all()
               for factor in (257, 256)):
            return colors.astype(np.uint8)
    raise ValueError(
        f'{where} is a palette TIFF without colours, with further channels or '
        'with colours of 16 bits. Write it as RGB')


def _decode_without_codec(content: bytes, page, where: str) -> np.ndarray:
    """Decode a TIFF whose compression tifffile cannot read by itself.

    Only such kinds are tried of which a backend keeps every value. Colours
    come as B, G, R.
    """
    kind = int(page.photometric), page.samplesperpixel
    backends: Tuple[str, ...] = ()
    if kind in ((_BLACK_IS_ZERO, 1), (_RGB, 3), (_RGB, 4), (_PALETTE, 1),
                (_YCBCR, 3)) and page.dtype is not None and (
                    page.bitspersample == 8 * page.dtype.itemsize):
        straight = _STRAIGHT_ALPHA in map(int, page.extrasamples)
        if page.dtype != np.uint8:
            backends = ('cv2', )
        elif kind != (_RGB, 4) or straight:
            # OpenCV multiplies 8 bits by such an alpha.
            backends = ('pillow', )
        else:
            # Pillow leaves the fourth channel out, but unlike OpenCV it
            # notices that 8 bits are damaged.
            backends = ('pillow', 'cv2')
    if page.is_tiled or (page.samplesperpixel > 1
                         and int(page.planarconfig) != 1):
        backends = ()
    image = None
    for backend in backends:
        try:
            image = mmcv.imfrombytes(
                content, flag='unchanged', backend=backend)
        except Exception:  # it is damaged, or the codec is unknown here too
            image = None
            break
    size = page.imagelength, page.imagewidth
    channels = page.samplesperpixel
    if image is None or image.dtype != page.dtype or image.shape != (
            size if channels == 1 else (*size, channels)):
        compression = getattr(page.compression, 'name', page.compression)
        raise ValueError(
            f'{where} cannot be read: it is damaged, or its compression '
            f'{compression} with {page.bitspersample} bits and '
            f'{channels} channel(s) needs imagecodecs: pip install '
            "imagecodecs. Or write it with compression='zlib' or without")
    if kind == (_PALETTE, 1):
        return _colors(page, where)[image][..., ::-1]
    return image
