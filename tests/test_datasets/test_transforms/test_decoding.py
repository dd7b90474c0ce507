"""A file's values come out as they are in the file, or as an error."""
import struct
import zlib

import cv2
import mmcv
import numpy as np
import pytest
from PIL import Image

from mwam_mm.datasets.image_files import image_size
from mwam_mm.datasets.transforms import LoadModalities, decoding

tifffile = pytest.importorskip('tifffile')

SIZE = (6, 8)
BACKENDS = (None, 'cv2', 'pillow', 'tifffile')
UNSPECIFIED = 0


def _values(channels=None, dtype=np.uint8, seed=0):
    shape = SIZE if channels is None else SIZE + (channels, )
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == 'f':
        return rng.normal(size=shape).astype(dtype)
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max, shape, dtype)


def _load(path, channels, backend=None, **fields):
    fields = dict(channels=channels, path_key='img_path', **fields)
    return LoadModalities(
        dict(x=fields), imdecode_backend=backend)(
            dict(img_path=str(path)))['img']


def _decode(path, backend=None):
    return decoding.decode_exactly(path.read_bytes(), backend, str(path))


def _refuses(path, *words, backend=None):
    with pytest.raises(ValueError) as error:
        _decode(path, backend)
    for word in (str(path), *words):
        assert word in str(error.value), str(error.value)


@pytest.fixture
def tiff(tmp_path):
    """Write a TIFF with tifffile's arguments."""

    def write(array, photometric='minisblack', **kwargs):
        path = tmp_path / 'a.tif'
        tifffile.imwrite(path, array, photometric=photometric, **kwargs)
        return path

    return write


@pytest.fixture
def png(tmp_path):
    """Write a PNG from its lines' bytes, with further chunks."""

    def write(color, bits, lines, before=(), after=()):
        path = tmp_path / 'a.png'
        header = struct.pack('>IIBBBBB', SIZE[1], SIZE[0], bits, color, 0, 0,
                             0)
        assert len(lines) == SIZE[0]
        data = zlib.compress(b''.join(b'\0' + bytes(line) for line in lines))
        chunks = [(b'IHDR', header), *before, (b'IDAT', data), *after,
                  (b'IEND', b'')]
        path.write_bytes(b'\x89PNG\r\n\x1a\n' + b''.join(
            struct.pack('>I', len(body)) + kind + body +
            struct.pack('>I', zlib.crc32(kind + body))
            for kind, body in chunks))
        return path

    return write


class TestTiff:

    @pytest.mark.parametrize('backend', BACKENDS)
    @pytest.mark.parametrize('alpha', ['unassalpha', 'assocalpha',
                                       'unspecified'])
    def test_the_fourth_sample_multiplies_nothing(self, tiff, alpha, backend):
        array = _values(4)
        path = tiff(array, 'rgb', extrasamples=[alpha])
        order = [0, 1, 2, 3] if backend == 'tifffile' else [2, 1, 0, 3]
        image = _load(path, 4, backend)
        assert image.dtype == np.uint8
        np.testing.assert_array_equal(image, array[..., order])

    def test_an_rgba_tiff_of_pillow(self, tmp_path):
        array = _values(4)
        for compression in (None, 'tiff_lzw', 'packbits'):
            path = tmp_path / f'{compression}.tif'
            Image.fromarray(array).save(path, compression=compression)
            np.testing.assert_array_equal(
                _load(path, 4), array[..., [2, 1, 0, 3]])

    @pytest.mark.parametrize('channels', [2, 3, 4, 6])
    @pytest.mark.parametrize('dtype', [np.uint8, np.uint16, np.float32])
    @pytest.mark.parametrize('planar', ['contig', 'separate'])
    @pytest.mark.parametrize('backend', BACKENDS)
    def test_bands_without_colour_keep_their_order(self, tiff, channels,
                                                   dtype, planar, backend):
        array = _values(channels, dtype)
        path = tiff(
            array if planar == 'contig' else np.moveaxis(array, -1, 0),
            planarconfig=planar)
        image = _decode(path, backend)
        assert image.dtype == dtype
        np.testing.assert_array_equal(image, array)

    def test_a_band_is_chosen_by_its_number(self, tiff):
        array = _values(4, np.uint16)
        path = tiff(array, planarconfig='contig')
        for band in range(4):
            np.testing.assert_array_equal(
                _load(path, 1, file_channels=[band])[..., 0], array[..., band])
        with pytest.raises(ValueError, match='4 channel.*channels=1'):
            _load(path, 1)

    @pytest.mark.parametrize('dtype', [
        np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32,
        np.float16, np.float32, np.float64
    ])
    @pytest.mark.parametrize('kwargs', [
        {},
        dict(compression='zlib', predictor=True),
        dict(tile=(16, 16)),
        dict(bigtiff=True, byteorder='>'),
    ])
    def test_types(self, tiff, dtype, kwargs):
        if 'predictor' in kwargs and np.dtype(dtype).kind == 'f':
            kwargs = dict(compression='zlib')
        array = _values(None, dtype)
        path = tiff(array, **kwargs)
        image = _decode(path)
        assert image.dtype == dtype and image.shape == SIZE + (1, )
        np.testing.assert_array_equal(image[..., 0], array)
        np.testing.assert_array_equal(
            _load(path, 1)[..., 0], array.astype(np.float32))

    @pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
    def test_white_is_zero_as_stored(self, tiff, dtype):
        array = _values(None, dtype)
        np.testing.assert_array_equal(
            _load(tiff(array, 'miniswhite'), 1)[..., 0], array)

    @pytest.mark.parametrize('planar', ['contig', 'separate'])
    @pytest.mark.parametrize('kwargs', [{}, dict(tile=(16, 16))])
    @pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
    def test_colours_come_as_bgr(self, tiff, planar, kwargs, dtype):
        array = _values(6, dtype)
        path = tiff(
            array if planar == 'contig' else np.moveaxis(array, -1, 0),
            'rgb', planarconfig=planar, extrasamples=[UNSPECIFIED] * 3,
            **kwargs)
        np.testing.assert_array_equal(
            _load(path, 6), array[..., [2, 1, 0, 3, 4, 5]])
        np.testing.assert_array_equal(_load(path, 6, 'tifffile'), array)

    def test_a_palette_gives_its_colours(self, tiff):
        array = _values()
        colors = np.random.default_rng(1).integers(
            0, 256, (3, 256)).astype(np.uint16)
        path = tiff(array, 'palette', colormap=colors * 257)
        image = _load(path, 3)
        np.testing.assert_array_equal(
            image, np.moveaxis(colors[::-1, array], 0, -1))
        np.testing.assert_array_equal(image, cv2.imread(str(path), -1))
        _refuses(tiff(array, 'palette', colormap=colors), 'palette',
                 '16 bits', 'as RGB')

    @pytest.mark.parametrize('backend', BACKENDS)
    def test_several_pages_are_refused(self, tiff, backend):
        path = tiff(np.stack([_values(seed=i) for i in range(3)]))
        _refuses(path, '3 pages', 'planarconfig', backend=backend)
        with pytest.raises(ValueError, match='3 pages'):
            image_size(str(path))

    def test_overviews_are_no_further_image(self, tmp_path):
        path = tmp_path / 'a.tif'
        array = _values(None, np.uint16)
        with tifffile.TiffWriter(path) as writer:
            writer.write(array, photometric='minisblack')
            writer.write(array[::2, ::2], photometric='minisblack',
                         subfiletype=1)
        np.testing.assert_array_equal(_load(path, 1)[..., 0], array)
        assert image_size(str(path)) == SIZE

    @pytest.mark.parametrize('space', ['separated', 'cielab', 'ycbcr'])
    def test_other_colour_spaces_are_refused(self, tiff, space):
        array = _values(4 if space == 'separated' else 3)
        _refuses(tiff(array, space), space.upper(), 'as RGB')

    def test_colours_that_opencv_compresses_are_refused(self, tmp_path):
        path = tmp_path / 'a.tif'
        assert cv2.imwrite(
            str(path), abs(_values(3, np.float32)),
            [cv2.IMWRITE_TIFF_COMPRESSION, 34676])  # SGILOG
        _refuses(path, 'LOGLUV')

    @pytest.mark.parametrize('backend', BACKENDS)
    @pytest.mark.parametrize('channels', [None, 3, 4])
    @pytest.mark.parametrize('dtype', [
        np.uint8, np.uint16, np.int16, np.int32
    ])
    def test_lzw(self, tmp_path, channels, dtype, backend):
        """tifffile decodes it with imagecodecs only, OpenCV by itself."""
        array = _values(channels, dtype)
        path = tmp_path / 'a.tif'
        assert cv2.imwrite(str(path), array, [cv2.IMWRITE_TIFF_COMPRESSION, 5])
        if backend == 'tifffile' and channels:
            array = array[..., [2, 1, 0, *range(3, channels)]]
        image = _decode(path, backend)
        assert image.dtype == dtype
        np.testing.assert_array_equal(image.reshape(array.shape), array)

    @pytest.mark.parametrize('values', [None, 3])
    def test_jpeg_in_a_tiff(self, tmp_path, values):
        array, path = _values(values), tmp_path / 'a.tif'
        Image.fromarray(array).save(path, compression='jpeg')
        expected = np.asarray(Image.open(path))
        image = _load(path, values or 1)
        np.testing.assert_allclose(
            image[..., ::-1].reshape(array.shape).astype(int), expected,
            atol=2)

    def test_lzw_of_a_palette(self, tmp_path):
        path = tmp_path / 'a.tif'
        image = Image.fromarray(_values(3)).quantize(20)
        image.save(path, compression='tiff_lzw')
        np.testing.assert_array_equal(
            _load(path, 3)[..., ::-1], np.asarray(image.convert('RGB')))

    @pytest.mark.parametrize('channels', [None, 3, 4])
    @pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
    def test_truncated_lzw(self, tmp_path, channels, dtype):
        path = tmp_path / 'a.tif'
        rng = np.random.default_rng(0)
        shape = (80, 90) + ((channels, ) if channels else ())
        assert cv2.imwrite(
            str(path), rng.integers(0, 255, shape).astype(dtype))
        with tifffile.TiffFile(path) as file:
            page = file.pages[0]
            assert page.compression == 5
            start = page.dataoffsets[-1]
            length = page.databytecounts[-1]
        content = bytearray(path.read_bytes())
        content[start + length // 2:start + length] = b'\xff' * (
            length - length // 2)
        path.write_bytes(content)
        _refuses(path, 'cannot be read')

    def test_float_predictor(self, tmp_path):
        array, path = _values(None, np.float32), tmp_path / 'a.tif'
        Image.fromarray(array).save(
            path, compression='tiff_adobe_deflate', tiffinfo={317: 3})
        np.testing.assert_array_equal(_load(path, 1)[..., 0], array)

    def test_what_no_decoder_reads_exactly_says_what_to_install(
            self, tmp_path, monkeypatch):
        path = tmp_path / 'a.tif'
        Image.fromarray(_values()).save(path, compression='tiff_lzw')
        with tifffile.TiffFile(path, mode='r+b') as file:
            file.pages[0].tags['PhotometricInterpretation'].overwrite(0)
        # OpenCV inverts this one.
        assert (cv2.imread(str(path), -1) == 255 - _values()).all()

        def no_codec(*_, **__):
            raise ValueError("LZW requires the 'imagecodecs' package")

        monkeypatch.setattr(tifffile.TiffPage, 'asarray', no_codec)
        _refuses(path, 'LZW', '8 bits', 'pip install imagecodecs')

    @pytest.mark.parametrize('kwargs', [
        {}, dict(compression='zlib'), dict(tile=(16, 16))
    ])
    def test_truncated_files(self, tiff, kwargs):
        path = tiff(_values(None, np.uint16), **kwargs)
        path.write_bytes(path.read_bytes()[:-40])
        _refuses(path, 'cannot be read')

    def test_colour_of_one_channel(self, tiff):
        path = tiff(_values(None))
        with tifffile.TiffFile(path, mode='r+b') as file:
            file.pages[0].tags['PhotometricInterpretation'].overwrite(2)
        _refuses(path, 'cannot be read', 'in colour with 1 channel')

    def test_without_tifffile(self, tiff, monkeypatch):
        path = tiff(_values())
        monkeypatch.setitem(__import__('sys').modules, 'tifffile', None)
        with pytest.raises(ModuleNotFoundError, match='pip install tifffile'):
            _decode(path)

    def test_a_tile_of_the_urban_trees(self, data_root):
        path = next((data_root / 'urban_trees/images').glob('*.tif'))
        image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        loaded = LoadModalities(
            dict(
                rgb=dict(channels=3, file_channels=[0, 1, 2],
                         bgr_to_rgb=True),
                nir=dict(channels=1, file_channels=[3],
                         path_key='img_path')))(dict(img_path=str(path)))
        assert loaded['img'].dtype == np.uint8
        np.testing.assert_array_equal(loaded['img'], image)


class TestPng:

    @pytest.mark.parametrize('backend', [None, 'cv2', 'tifffile'])
    @pytest.mark.parametrize('channels', [3, 4])
    def test_16_bits(self, tmp_path, channels, backend):
        array = _values(channels, np.uint16)
        path = tmp_path / 'a.png'
        cv2.imwrite(str(path), array)
        np.testing.assert_array_equal(_load(path, channels, backend), array)
        _refuses(path, f'{channels} channel(s) of 16 bits', "'pillow'",
                 'uint8', 'imdecode_backend', backend='pillow')

    @pytest.mark.parametrize('backend', BACKENDS)
    def test_grey_of_16_bits(self, tmp_path, backend):
        array, path = _values(None, np.uint16), tmp_path / 'a.png'
        cv2.imwrite(str(path), array)
        np.testing.assert_array_equal(
            _load(path, 1, backend)[..., 0], array)

    def test_grey_and_alpha(self, png):
        array = _values(2)
        path = png(4, 8, array.reshape(SIZE[0], -1))
        np.testing.assert_array_equal(_load(path, 2), array)
        _refuses(path, '2 channel(s) of 8 bits', '4 channel(s)',
                 backend='cv2')
        array = _values(2, np.uint16)
        path = png(4, 16, array.astype('>u2').reshape(SIZE[0], -1))
        _refuses(path, '2 channel(s) of 16 bits', '.npy')

    def test_palette(self, png):
        array = _values()
        colors = np.random.default_rng(1).integers(0, 256, (256, 3), np.uint8)
        palette = [(b'PLTE', colors.tobytes())]
        path = png(3, 8, array, palette)
        np.testing.assert_array_equal(
            _load(path, 3), colors[array][..., ::-1])
        _refuses(path, '3 channel(s)', '1 channel(s)', backend='pillow')
        path = png(3, 8, array, [*palette, (b'tRNS', b'\0\x09')])
        np.testing.assert_array_equal(
            _load(path, 4)[..., :3], colors[array][..., ::-1])
        with pytest.raises(ValueError, match='has 4 channel'):
            _load(path, 3)

    @pytest.mark.parametrize('backend', BACKENDS)
    @pytest.mark.parametrize('bits', [1, 2, 4])
    def test_few_bits_are_not_stretched(self, png, bits, backend):
        path = png(0, bits, np.zeros((SIZE[0], bits), np.uint8))
        _refuses(path, f'{bits} bit(s)', '8 bits', backend=backend)

    def test_a_transparent_grey_level_stays(self, png):
        array = _values()
        path = png(0, 8, array, [(b'tRNS', b'\0\x09')])
        np.testing.assert_array_equal(_load(path, 1)[..., 0], array)

    def test_a_kind_of_colour_that_there_is_not(self, png):
        _refuses(png(5, 8, _values()), 'cannot be read')

    def test_animation(self, png):
        path = png(0, 8, _values(), [(b'acTL', struct.pack('>II', 2, 0))])
        _refuses(path, 'animated')


class TestJpeg:

    @pytest.mark.parametrize('backend', BACKENDS)
    def test_cmyk_is_refused(self, tmp_path, backend):
        path = tmp_path / 'a.jpg'
        Image.fromarray(_values(4), 'CMYK').save(path)
        assert mmcv.imread(str(path), 'unchanged').shape[2] == 3
        _refuses(path, 'CMYK', 'as RGB', backend=backend)

    @pytest.mark.parametrize('backend', BACKENDS)
    @pytest.mark.parametrize('progressive', [False, True])
    def test_grey_and_colour(self, tmp_path, backend, progressive):
        for channels in (None, 3):
            path = tmp_path / 'a.jpg'
            exif = Image.Exif()
            exif[0x010f] = 'a camera' * 100
            Image.fromarray(_values(channels)).save(
                path, progressive=progressive, exif=exif)
            image = _load(path, channels or 1, backend)
            expected = np.asarray(Image.open(path)).reshape(image.shape)
            np.testing.assert_allclose(
                image.astype(int), expected[..., ::-1], atol=2)


    @pytest.mark.parametrize('channels', [None, 3])
    def test_tables_before_the_frame(self, tmp_path, channels):
        """As some cameras write them."""
        path = tmp_path / 'a.jpg'
        Image.fromarray(_values(channels)).save(path)
        expected = _load(path, channels or 1)
        content, start, parts = path.read_bytes(), 2, []
        while content[start + 1] != 0xda:
            end = start + 2 + int.from_bytes(
                content[start + 2:start + 4], 'big')
            parts.append(content[start:end])
            start = end
        tables = [p for p in parts if p[1] == 0xc4]
        assert tables and parts[-1] in tables
        others = [p for p in parts if p not in tables]
        path.write_bytes(
            b''.join([content[:2], *tables, *others, content[start:]]))
        np.testing.assert_array_equal(_load(path, channels or 1), expected)


class TestOrientation:

    @pytest.mark.parametrize('backend', BACKENDS)
    @pytest.mark.parametrize('where', ['before', 'after'])
    def test_png(self, png, backend, where):
        for orientation in range(1, 9):
            exif = Image.Exif()
            exif[0x0112] = orientation
            chunk = exif.tobytes()
            if chunk.startswith(b'Exif'):
                chunk = chunk[6:]
            path = png(0, 8, _values(), **{where: [(b'eXIf', chunk)]})
            if orientation == 1:
                assert _load(path, 1, backend).shape == SIZE + (1, )
                continue
            _refuses(path, 'turned by its EXIF tag', f'n {orientation})',
                     backend=backend)
            with pytest.raises(ValueError, match='turned'):
                image_size(str(path))

    @pytest.mark.parametrize('backend', BACKENDS)
    def test_tiff(self, tiff, backend):
        for orientation in range(1, 9):
            path = tiff(
                _values(),
                extratags=[(0x0112, 'H', 1, orientation, True)])
            if orientation == 1:
                assert _load(path, 1, backend).shape == SIZE + (1, )
                continue
            _refuses(path, 'turned by its TIFF tag', f'n {orientation})',
                     backend=backend)
            with pytest.raises(ValueError, match='turned'):
                image_size(str(path))

    def test_damaged_exif_turns_nothing(self, png):
        path = png(0, 8, _values(), [(b'eXIf', b'MM\0*\0')])
        assert _load(path, 1).shape == SIZE + (1, )


class TestBackendByModality:

    @pytest.fixture
    def files(self, tmp_path):
        rgb, bands = _values(3), _values(6, np.uint16)
        Image.fromarray(rgb).save(tmp_path / 'rgb.jpg')
        tifffile.imwrite(tmp_path / 'bands.tif', bands, photometric='rgb',
                         planarconfig='contig',
                         extrasamples=[UNSPECIFIED] * 3)
        return dict(
            img_path=str(tmp_path / 'rgb.jpg'),
            bands_path=str(tmp_path / 'bands.tif')), bands

    MODALITIES = dict(rgb=dict(channels=3), bands=dict(channels=6))

    @pytest.mark.parametrize('backend, order', [
        (None, [2, 1, 0, 3, 4, 5]),
        ('cv2', [2, 1, 0, 3, 4, 5]),
        ('tifffile', [0, 1, 2, 3, 4, 5]),
        (dict(bands='tifffile'), [0, 1, 2, 3, 4, 5]),
        (dict(rgb='tifffile'), [2, 1, 0, 3, 4, 5]),
    ])
    def test_jpeg_beside_a_tiff(self, files, backend, order):
        paths, bands = files
        image = LoadModalities(
            self.MODALITIES, imdecode_backend=backend)(dict(paths))['img']
        np.testing.assert_array_equal(image[..., :3],
                                      cv2.imread(paths['img_path']))
        np.testing.assert_array_equal(image[..., 3:], bands[..., order])

    def test_one_file_with_two_backends(self, files):
        paths, bands = files
        image = LoadModalities(
            dict(
                a=dict(channels=1, file_channels=[0], path_key='bands_path'),
                b=dict(channels=1, file_channels=[0], path_key='bands_path')),
            imdecode_backend=dict(b='tifffile'))(dict(paths))['img']
        np.testing.assert_array_equal(image, bands[..., [2, 0]])

    @pytest.mark.parametrize('backend, words', [
        ('opencv', ("'opencv'", "'cv2'")),
        (dict(rgb='opencv'), ("'opencv'", "'cv2'")),
        (dict(depth='cv2'), ('imdecode_backend', 'depth', 'bands')),
    ])
    def test_unknown(self, backend, words):
        with pytest.raises(ValueError) as error:
            LoadModalities(self.MODALITIES, imdecode_backend=backend)
        for word in words:
            assert word in str(error.value)
