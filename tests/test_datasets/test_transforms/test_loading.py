"""LoadModalities and LoadPaletteAnnotations on files of every format."""
import cv2
import mmcv
import numpy as np
import pytest
from mmseg.datasets.transforms import PackSegInputs
from PIL import Image

from mwam_mm.datasets.transforms import LoadModalities, LoadPaletteAnnotations
from mwam_mm.models import MultiModalSegDataPreprocessor
from mwam_mm.registry import TRANSFORMS

RGB = dict(
    channels=3, mean=[120., 110., 100.], std=[60., 50., 40.], bgr_to_rgb=True)
SIZE = (6, 8)


def _array(channels=3, dtype=np.uint8, size=SIZE, seed=0):
    shape = size if channels is None else size + (channels, )
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == 'f':
        return rng.normal(size=shape).astype(dtype)
    return rng.integers(1, 255 if dtype == np.uint8 else 60000,
                        shape).astype(dtype)


def _write(path, array):
    if path.suffix == '.npy':
        np.save(path, array)
    else:
        # OpenCV's own choice for three float channels is lossy.
        lossless = [cv2.IMWRITE_TIFF_COMPRESSION, 1]
        assert cv2.imwrite(
            str(path), array, lossless if path.suffix == '.tiff' else [])
    return str(path)


@pytest.fixture
def rgb(tmp_path):
    array = _array(3)
    return _write(tmp_path / 'rgb.png', array), array


def _load(paths, modalities, **kwargs):
    return LoadModalities(modalities, **kwargs)(dict(paths))


@pytest.mark.parametrize('name,channels,dtype', [
    ('d.png', None, np.uint8),
    ('d.png', None, np.uint16),
    ('d.png', 3, np.uint8),
    ('d.png', 3, np.uint16),
    ('d.png', 4, np.uint8),
    ('d.tiff', None, np.uint8),
    ('d.tiff', None, np.uint16),
    ('d.tiff', 4, np.uint8),
    ('d.tiff', None, np.float32),
    ('d.tiff', 3, np.float32),
    ('d.npy', None, np.float16),
    ('d.npy', None, np.float64),
    ('d.npy', 1, np.int32),
    ('d.npy', 2, np.int16),
    ('d.npy', 7, np.float32),
])
def test_formats_keep_values(tmp_path, rgb, name, channels, dtype):
    array = _array(channels, dtype, seed=1)
    count = channels or 1
    results = _load(
        dict(img_path=rgb[0], depth_path=_write(tmp_path / name, array)),
        dict(rgb=RGB, depth=dict(channels=count)))
    image = results['img']
    assert image.dtype == (np.uint8 if dtype == np.uint8 else np.float32)
    assert image.shape == SIZE + (3 + count, )
    assert image.flags.c_contiguous
    assert results['img_shape'] == results['ori_shape'] == SIZE
    assert 'absent_modalities' not in results
    np.testing.assert_array_equal(image[..., :3], rgb[1])
    np.testing.assert_array_equal(
        image[..., 3:], array.reshape(SIZE + (count, )).astype(np.float32))


def test_jpeg_equals_opencv(tmp_path):
    path = _write(tmp_path / 'a.jpg', _array(3, size=(32, 40)))
    image = _load(dict(img_path=path), dict(rgb=RGB))['img']
    np.testing.assert_array_equal(image, cv2.imread(path))


@pytest.mark.parametrize('order', ['<', '>'])
def test_turned_jpegs_are_refused(tmp_path, order):
    """Stock loading turns them; the other modalities would not fit."""
    array = _array(3, size=(32, 40))
    for orientation in range(1, 9):
        path = str(tmp_path / f'{orientation}.jpg')
        exif = Image.Exif()
        exif.endian = order
        exif[0x010f] = 'a camera'
        exif[0x0112] = orientation
        Image.fromarray(array).save(path, exif=exif)
        if orientation == 1:
            assert _load(
                dict(img_path=path), dict(rgb=RGB))['img_shape'] == (32, 40)
            continue
        assert mmcv.imread(path).shape[:2] == (
            (40, 32) if orientation > 4 else (32, 40))
        with pytest.raises(ValueError, match='turned by its EXIF tag') as e:
            _load(dict(img_path=path), dict(rgb=RGB))
        assert path in str(e.value) and f'n {orientation})' in str(e.value)


def test_damaged_exif_turns_nothing(tmp_path):
    path = tmp_path / 'a.jpg'
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(_array(3)).save(path, exif=exif)
    content = path.read_bytes()
    start = content.index(b'Exif') + 6
    path.write_bytes(content[:start + 4] + b'\xff' * 4 + content[start + 8:])
    assert mmcv.imread(str(path)).shape[:2] == SIZE
    assert _load(dict(img_path=str(path)),
                 dict(rgb=RGB))['img_shape'] == SIZE


def test_pillow_backend_gives_the_same_order(rgb):
    image = _load(
        dict(img_path=rgb[0]), dict(rgb=RGB), imdecode_backend='pillow')['img']
    np.testing.assert_array_equal(image, rgb[1])


def test_scale(tmp_path, rgb):
    depth = _array(None, np.uint16, seed=1)
    paths = dict(
        img_path=rgb[0], depth_path=_write(tmp_path / 'd.png', depth))
    image = _load(paths, dict(rgb=RGB, depth=dict(channels=1, scale=.001)))
    np.testing.assert_allclose(image['img'][..., 3], depth / 1000, rtol=1e-6)
    # A scale on a uint8 file makes the whole stack float.
    image = _load(dict(img_path=rgb[0]), dict(rgb=dict(channels=3, scale=2)))
    assert image['img'].dtype == np.float32
    np.testing.assert_array_equal(image['img'], rgb[1] * 2.)


def test_border_is_cut_off(tmp_path, rgb):
    depth = _array(None, np.uint16)
    paths = dict(
        img_path=rgb[0],
        depth_path=_write(tmp_path / 'depth.png', depth))
    modalities = dict(rgb=dict(channels=3), depth=dict(channels=1))
    results = _load(paths, modalities, border=1)
    np.testing.assert_array_equal(results['img'][..., :3],
                                  rgb[1][1:-1, 1:-1])
    np.testing.assert_array_equal(results['img'][..., 3], depth[1:-1, 1:-1])
    assert results['ori_shape'] == (SIZE[0] - 2, SIZE[1] - 2)
    with pytest.raises(ValueError, match='border=100 leaves nothing'):
        _load(paths, modalities, border=100)


def test_annotations_of_another_size(rgb):
    modalities = dict(rgb=dict(channels=3))

    def load(height, width, **kwargs):
        sample = dict(img_path=rgb[0], height=height, width=width)
        return _load(sample, modalities, **kwargs)['img_shape']

    assert load(*SIZE) == SIZE
    assert load(SIZE[0] - 2, SIZE[1] - 2, border=1) == (SIZE[0] - 2,
                                                        SIZE[1] - 2)
    for size, border in (((8, 6), 0), (SIZE, 1), ((SIZE[0], 9), 0)):
        with pytest.raises(ValueError, match='of another image') as e:
            load(*size, border=border)
        assert rgb[0] in str(e.value) and str(size) in str(e.value)
        assert f'border={border}' in str(e.value)


def test_order_is_the_layouts(tmp_path, rgb):
    depth = _write(tmp_path / 'd.png', _array(None, seed=1))
    image = _load(
        dict(a_path=depth, img_path=rgb[0]),
        dict(depth=dict(channels=1, path_key='a_path'), rgb=RGB))['img']
    np.testing.assert_array_equal(image[..., :3], rgb[1])
    np.testing.assert_array_equal(image[..., 3], _array(None, seed=1))


@pytest.mark.parametrize('invalid,values,mask', [
    (0, np.uint16([[0, 5, 7, 65535]]), [1, 0, 0, 0]),
    ([0, 65535], np.uint16([[0, 5, 7, 65535]]), [1, 0, 0, 1]),
    (-9999.9, np.float32([[1, -9999.9, 2]]), [0, 1, 0]),
    (0, np.float32([[1, 0, -0., 2]]), [0, 1, 1, 0]),
    (float('nan'), np.float32([[np.nan, 1, 2]]), [1, 0, 0]),
    ([float('nan'), float('inf')], np.array([[np.nan, 1, np.inf]]),
     [1, 0, 1]),
    (65536, np.uint16([[0, 2, 65535]]), [0, 0, 0]),
    (-1, np.uint8([[255, 2, 0]]), [0, 0, 0]),
    (-1, np.int64([[-1, 2, 3]]), [1, 0, 0]),
])
def test_invalid_values_become_the_mean(tmp_path, invalid, values, mask):
    mask = np.array([mask], bool)
    modalities = dict(
        depth=dict(
            channels=1, mean=2.7, std=1.3, scale=.1, invalid_value=invalid))
    results = _load(
        dict(depth_path=_write(tmp_path / 'd.npy', values)), modalities)
    expected = np.where(mask, np.float32(2.7), values * .1)
    np.testing.assert_allclose(
        results['img'][..., 0], expected, rtol=1e-6)
    # ... which the preprocessor turns into exactly 0, "no information".
    packed = PackSegInputs()(results)
    normalised = MultiModalSegDataPreprocessor(modalities, size=values.shape)(
        dict(inputs=[packed['inputs']], data_samples=[packed['data_samples']
                                                      ]))['inputs']
    assert (normalised[0, 0].numpy()[mask] == 0).all()
    assert (normalised[0, 0].numpy()[~mask] != 0).all()


def test_invalid_fill_of_a_bgr_modality(tmp_path):
    image = np.full(SIZE + (3, ), 9, np.uint8)
    image[0, 0] = 0
    image = _load(
        dict(img_path=_write(tmp_path / 'a.png', image)),
        dict(rgb=dict(RGB, invalid_value=0)))['img']
    assert image.dtype == np.float32
    assert image[0, 0].tolist() == [100., 110., 120.]  # B, G, R
    assert image[1, 1].tolist() == [9., 9., 9.]


def test_one_file_for_several_modalities(tmp_path):
    array = _array(4)
    path = _write(tmp_path / 'a.tiff', array)
    reads = []

    class Counting(LoadModalities):

        def _read(self, *args):
            reads.append(args[0])
            return super()._read(*args)

    image = Counting(
        dict(
            nir=dict(channels=1, path_key='img_path', file_channels=[3]),
            rgb=dict(channels=3, file_channels=[2, 1, 0])))(
                dict(img_path=path))['img']
    np.testing.assert_array_equal(image, array[..., [2, 1, 0, 3]])
    assert image.dtype == np.uint8
    assert reads == [path]


@pytest.mark.parametrize('name,dtype', [
    ('d.png', np.uint8),
    ('d.png', np.uint16),
    ('d.npy', np.float64),
])
@pytest.mark.parametrize('fields', [
    {},
    dict(scale=.001),
    dict(invalid_value=[0, 7], mean=2.7, scale=.1),
])
def test_the_usual_pair_is_stacked_as_any_other(tmp_path, rgb, name, dtype,
                                                fields):
    depth = _array(None, dtype, seed=1)
    depth[:2] = 0, 7, 7, 0, 1, 2, 3, 0
    paths = dict(img_path=rgb[0], depth_path=_write(tmp_path / name, depth))
    pair = dict(rgb=RGB, depth=dict(channels=1, **fields))
    image = _load(paths, pair)['img']
    # By its name the single channel comes first.
    other = dict(pair, visible=dict(RGB, path_key='img_path'))
    other.pop('rgb')
    reverse = _load(paths, other)['img']
    assert image.dtype == reverse.dtype
    assert image.flags.c_contiguous
    np.testing.assert_array_equal(image, reverse[..., [1, 2, 3, 0]])


def test_one_of_three_files_missing(tmp_path, rgb):
    thermal = _array(None, seed=1)
    image = _load(
        dict(
            img_path=rgb[0],
            depth_path=str(tmp_path / 'none.png'),
            thermal_path=_write(tmp_path / 't.png', thermal)),
        dict(
            rgb=RGB,
            depth=dict(channels=1, optional=True),
            thermal=dict(channels=1)))['img']
    np.testing.assert_array_equal(image[..., :3], rgb[1])
    assert (image[..., 3] == 0).all()
    np.testing.assert_array_equal(image[..., 4], thermal)


def test_missing_optional_file(tmp_path, rgb):
    modalities = dict(
        rgb=RGB, depth=dict(channels=2, optional=True, mean=3., std=2.))
    paths = dict(img_path=rgb[0], depth_path=str(tmp_path / 'none.png'))
    results = _load(paths, modalities)
    assert results['absent_modalities'] == ('depth', )
    assert results['img'].shape == SIZE + (5, )
    assert (results['img'][..., 3:] == 0).all()
    np.testing.assert_array_equal(results['img'][..., :3], rgb[1])

    paths['depth_path'] = _write(tmp_path / 'd.npy', _array(2))
    assert _load(paths, modalities)['absent_modalities'] == ()


def test_all_optional_files_missing():
    modalities = dict(
        rgb=dict(channels=3, optional=True),
        depth=dict(channels=1, optional=True))
    with pytest.raises(FileNotFoundError) as error:
        _load(dict(img_path='no_a.png', depth_path='no_b.png'), modalities)
    for word in ('no_a.png', 'no_b.png', 'rgb', 'depth'):
        assert word in str(error.value)


def test_missing_file_shared_with_a_required_modality():
    modalities = dict(
        nir=dict(
            channels=1, path_key='img_path', file_channels=[3], optional=True),
        rgb=dict(channels=3, file_channels=[0, 1, 2]))
    with pytest.raises(FileNotFoundError, match="modality 'rgb'.*gone.tiff"):
        _load(dict(img_path='gone.tiff'), modalities)


def _raises(kind, paths, modalities, *words):
    with pytest.raises(kind) as error:
        _load(paths, modalities)
    for word in words:
        assert word in str(error.value), str(error.value)


def test_missing_key(rgb):
    _raises(KeyError, dict(img_path=rgb[0]),
            dict(rgb=RGB, depth=dict(channels=1, optional=True)), 'depth',
            "results['depth_path']", 'data_prefix')


def test_missing_file(rgb, tmp_path):
    path = str(tmp_path / 'gone.png')
    _raises(FileNotFoundError, dict(img_path=rgb[0], depth_path=path),
            dict(rgb=RGB, depth=dict(channels=1)), path, "modality 'depth'",
            "results['depth_path']", "modalities['depth'].optional")


@pytest.mark.parametrize('name,content', [
    ('text.png', b'this is no image'),
    ('empty.png', b''),
    ('empty.npy', b''),
    ('truncated.png', None),
    ('truncated.npy', None),
])
def test_unreadable_file(rgb, tmp_path, name, content):
    path = tmp_path / name
    if content is None:
        _write(path, _array(None, size=(50, 50)))
        content = path.read_bytes()[:500]
    path.write_bytes(content)
    _raises(ValueError, dict(img_path=rgb[0], depth_path=str(path)),
            dict(rgb=RGB, depth=dict(channels=1)), str(path),
            "modality 'depth'", "results['depth_path']", 'cannot be read')


def test_pickled_array_is_refused(tmp_path):
    path = _write(tmp_path / 'a.npy', np.array([[{}, {}]]))
    _raises(ValueError, dict(img_path=path), dict(rgb=dict(channels=1)), path,
            'allow_pickle')


@pytest.mark.parametrize('name,channels,declared', [
    ('d.png', 3, 1),
    ('d.png', None, 3),
    ('d.png', 4, 3),
    ('d.npy', 2, 1),
])
def test_wrong_channel_count(rgb, tmp_path, name, channels, declared):
    path = _write(tmp_path / name, _array(channels))
    _raises(ValueError, dict(img_path=rgb[0], depth_path=path),
            dict(rgb=RGB, depth=dict(channels=declared)), path,
            "modality 'depth'", "results['depth_path']",
            f'{channels or 1} channel(s)',
            f"modalities['depth'].channels={declared}", 'file_channels')


@pytest.mark.parametrize('channel', [3, -1])
def test_file_channels_out_of_range(rgb, channel):
    _raises(
        ValueError, dict(nir_path=rgb[0]),
        dict(nir=dict(channels=1, file_channels=[channel])), rgb[0],
        f"modalities['nir'].file_channels=[{channel}]", '3 channel(s)')


def test_different_size(rgb, tmp_path):
    path = _write(tmp_path / 'd.png', _array(None, size=(6, 9)))
    _raises(ValueError, dict(img_path=rgb[0], depth_path=path),
            dict(rgb=RGB, depth=dict(channels=1)), path, rgb[0],
            "results['depth_path']", "results['img_path']", '(6, 9)', '(6, 8)')


@pytest.mark.parametrize('name', ['d.tiff', 'd.npy'])
@pytest.mark.parametrize('bad', [np.nan, np.inf, -np.inf])
def test_nan_or_inf(rgb, tmp_path, name, bad):
    array = _array(None, np.float32)
    array[2, 3] = array[4, 4] = bad
    path = _write(tmp_path / name, array)
    _raises(ValueError, dict(img_path=rgb[0], depth_path=path),
            dict(rgb=RGB, depth=dict(channels=1)), path, "modality 'depth'",
            "results['depth_path']", ' 2 pixel(s) of NaN or Inf',
            "modalities['depth'].invalid_value")


def test_float32_overflow_is_an_error(tmp_path):
    path = _write(tmp_path / 'd.npy', np.full(SIZE, 1e300))
    _raises(ValueError, dict(depth_path=path), dict(depth=dict(channels=1)),
            path, 'NaN or Inf')


@pytest.mark.parametrize('dtype', [bool, complex, 'U3'])
def test_unsupported_dtype(tmp_path, dtype):
    path = _write(tmp_path / 'd.npy', np.zeros(SIZE, dtype))
    _raises(ValueError, dict(depth_path=path), dict(depth=dict(channels=1)),
            path, "modality 'depth'", 'data type')


def test_unsupported_shape(tmp_path):
    path = _write(tmp_path / 'd.npy', np.zeros((1, 2, 3, 4), np.float32))
    _raises(ValueError, dict(depth_path=path), dict(depth=dict(channels=1)),
            path, '(1, 2, 3, 4)')


PALETTE = [[0, 0, 0], [153, 0, 0], [0, 7, 200]]


def _labels(tmp_path, ids, palette=PALETTE):
    colors = np.uint8(palette)[ids]
    path = _write(tmp_path / 'label.png', colors[..., ::-1])  # BGR
    return dict(
        seg_map_path=path,
        seg_fields=[],
        label_map=None,
        reduce_zero_label=False)


@pytest.mark.parametrize('backend', ['pillow', 'cv2'])
def test_palette_annotations(tmp_path, backend):
    ids = np.random.default_rng(0).integers(0, 3, SIZE)
    transform = TRANSFORMS.build(
        dict(
            type='mwam_mm.LoadPaletteAnnotations',
            palette=PALETTE,
            imdecode_backend=backend))
    results = transform(_labels(tmp_path, ids))
    assert results['gt_seg_map'].dtype == np.uint8
    np.testing.assert_array_equal(results['gt_seg_map'], ids)
    assert results['seg_fields'] == ['gt_seg_map']


def test_palette_annotations_map_labels_as_mmseg(tmp_path):
    ids = np.random.default_rng(0).integers(0, 3, SIZE)
    transform = LoadPaletteAnnotations(PALETTE)
    results = _labels(tmp_path, ids)
    results['label_map'] = {0: 1, 1: 255, 2: 0}
    np.testing.assert_array_equal(
        transform(results)['gt_seg_map'],
        np.uint8([1, 255, 0])[ids])
    results = _labels(tmp_path, ids)
    results['reduce_zero_label'] = True
    np.testing.assert_array_equal(
        transform(results)['gt_seg_map'],
        np.uint8([255, 0, 1])[ids])


def test_unknown_color(tmp_path):
    results = _labels(
        tmp_path, np.array([[0, 1], [3, 3]]), PALETTE + [[1, 2, 3]])
    with pytest.raises(ValueError) as error:
        LoadPaletteAnnotations(PALETTE)(results)
    for word in (results['seg_map_path'], '(1, 2, 3)', '2 pixel(s)'):
        assert word in str(error.value)


def test_unreadable_labels_are_named(tmp_path):
    path = tmp_path / 'label.png'
    path.write_bytes(b'nothing')
    with pytest.raises(ValueError, match='label.png'):
        LoadPaletteAnnotations(PALETTE)(
            dict(seg_map_path=str(path), seg_fields=[]))


@pytest.mark.parametrize(
    'palette', [[], [[0, 0]], [[0, 0, 256]], [[1, 2, 3], [1, 2, 3]]])
def test_bad_palette(palette):
    with pytest.raises(ValueError, match='palette'):
        LoadPaletteAnnotations(palette)


def test_empty_file(tmp_path, rgb):
    path = tmp_path / 'depth.png'
    path.write_bytes(b'')
    with pytest.raises(
            ValueError, match=r"'depth'.*depth.png' cannot be read: it is e"):
        _load(
            dict(img_path=rgb[0], depth_path=str(path)),
            dict(rgb=RGB, depth=dict(channels=1)))


class TestNpz:

    def test_only_array(self, tmp_path):
        array = _array(2, np.float32)
        np.savez(tmp_path / 'x.npz', values=array)
        results = _load(
            dict(event_path=str(tmp_path / 'x.npz')),
            dict(event=dict(channels=2)))
        np.testing.assert_array_equal(results['img'], array)

    def test_key(self, tmp_path):
        """Two modalities in one file, each an array."""
        depth, normal = _array(None, np.float32), _array(3, np.float32, seed=1)
        path = str(tmp_path / 'x.npz')
        np.savez_compressed(path, d=depth, n=normal)
        modalities = dict(
            depth=dict(channels=1), normal=dict(channels=3))
        results = _load(
            dict(depth_path=path, normal_path=path), modalities,
            npz_key=dict(depth='d', normal='n'))
        np.testing.assert_array_equal(results['img'][..., 0], depth)
        np.testing.assert_array_equal(results['img'][..., 1:], normal)
        for key in (None, 'x'):
            with pytest.raises(
                    ValueError, match=r"arrays \['d', 'n'\].*npz_key"):
                _load(
                    dict(depth_path=path),
                    dict(depth=dict(channels=1)),
                    npz_key=key)

    def test_only_array_of_another_name(self, tmp_path):
        path = str(tmp_path / 'x.npz')
        np.savez(path, values=_array(2))
        with pytest.raises(ValueError, match=r"arrays \['values'\].*'x'"):
            _load(
                dict(event_path=path), dict(event=dict(channels=2)),
                npz_key='x')

    def test_damaged(self, tmp_path):
        path = tmp_path / 'x.npz'
        np.savez(path, values=_array(2))
        path.write_bytes(path.read_bytes()[:-40])
        with pytest.raises(ValueError, match='x.npz.*cannot be read'):
            _load(dict(event_path=str(path)), dict(event=dict(channels=2)))


class TestGreyAmongColour:

    def test_grey_counts_for_three(self, tmp_path, rgb):
        grey = _array(None)
        path = _write(tmp_path / 'grey.png', grey)
        for modality in (RGB, dict(RGB, file_channels=[0, 1, 2])):
            results = _load(
                dict(img_path=path), dict(rgb=modality), grey_as_color=True)
            np.testing.assert_array_equal(
                results['img'], np.stack([grey] * 3, -1))
        results = _load(
            dict(img_path=rgb[0]), dict(rgb=RGB), grey_as_color=True)
        np.testing.assert_array_equal(results['img'], rgb[1])

    def test_is_an_error_without_the_option(self, tmp_path):
        path = _write(tmp_path / 'grey.png', _array(None))
        with pytest.raises(ValueError, match='grey_as_color=True'):
            _load(dict(img_path=path), dict(rgb=RGB))

    def test_rgba_among_rgb(self, tmp_path, rgb):
        array = _array(4)
        path = _write(tmp_path / 'alpha.png', array)
        modality = dict(RGB, file_channels=[0, 1, 2])
        results = _load(dict(img_path=path), dict(rgb=modality))
        np.testing.assert_array_equal(results['img'], array[..., :3])
        results = _load(dict(img_path=rgb[0]), dict(rgb=modality))
        np.testing.assert_array_equal(results['img'], rgb[1])


class TestResizeTo:

    MODALITIES = dict(
        rgb=RGB,
        depth=dict(channels=1, mean=3., scale=0.001, invalid_value=0),
        thermal=dict(channels=1))

    def paths(self, tmp_path, rgb, depth_size=(3, 4)):
        depth = _array(None, np.uint16, depth_size)
        depth[0, 0] = 0
        thermal = np.full((12, 16), 7, np.int32)
        return depth, dict(
            img_path=rgb[0],
            depth_path=_write(tmp_path / 'depth.png', depth),
            thermal_path=_write(tmp_path / 'thermal.npy', thermal))

    def test_half_and_double_resolution(self, tmp_path, rgb):
        depth, paths = self.paths(tmp_path, rgb)
        results = _load(paths, self.MODALITIES, resize_to='rgb')
        assert results['img_shape'] == results['ori_shape'] == SIZE
        np.testing.assert_array_equal(results['img'][..., :3], rgb[1])
        # No value lies between a measurement and none.
        expected = depth.repeat(2, 0).repeat(2, 1) * np.float32(0.001)
        expected[:2, :2] = 3
        np.testing.assert_allclose(results['img'][..., 3], expected)
        np.testing.assert_array_equal(results['img'][..., 4], 7)

    def test_bytes_stay_bytes(self, tmp_path, rgb):
        thermal = np.array([[0, 100]], np.uint8).repeat(3, 0).repeat(2, 1)
        path = _write(tmp_path / 'thermal.png', thermal)
        results = _load(
            dict(img_path=rgb[0], thermal_path=path),
            dict(rgb=RGB, thermal=dict(channels=1)),
            resize_to='rgb')
        assert results['img'].dtype == np.uint8
        assert results['img'][0, :, 3].tolist() == [
            0, 0, 0, 25, 75, 100, 100, 100
        ]

    def test_errors(self, tmp_path, rgb):
        _, paths = self.paths(tmp_path, rgb)
        with pytest.raises(ValueError, match='set resize_to'):
            _load(paths, self.MODALITIES)
        with pytest.raises(ValueError, match=r"resize_to.*\['lidar'\]"):
            LoadModalities(self.MODALITIES, resize_to='lidar')
        _, paths = self.paths(tmp_path, rgb, (4, 4))
        with pytest.raises(ValueError, match='depth.png.*do not see the same'):
            _load(paths, self.MODALITIES, resize_to='rgb')
        optional = dict(self.MODALITIES, rgb=dict(RGB, optional=True))
        _, paths = self.paths(tmp_path, rgb)
        paths['img_path'] = str(tmp_path / 'none.png')
        with pytest.raises(FileNotFoundError, match='none.png.*every sample'):
            _load(paths, optional, resize_to='rgb')
        sized = dict(paths, height=6, width=8)
        assert _load(
            sized, optional, resize_to='rgb')['img_shape'] == SIZE
