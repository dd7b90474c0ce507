"""Tests of tools/dataset_converters on miniatures of the publishers' files."""
import sys

import cv2
import numpy as np
import pytest

from tests import benchmarks


def read(path):
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert image is not None, path
    return image


@pytest.fixture
def nyu(load_tool):
    return load_tool('dataset_converters/nyu_depth_v2')


@pytest.fixture
def nyu_files(tmp_path):
    pytest.importorskip('h5py', reason="the publishers' file is HDF5")
    arrays = benchmarks.write_nyu_depth_v2(tmp_path)
    return arrays, (str(tmp_path / 'nyu_depth_v2_labeled.mat'),
                    str(tmp_path / 'splits.mat'), str(tmp_path / 'out'))


def test_nyu_tree(nyu, nyu_files, tmp_path, monkeypatch, capsys):
    arrays, paths = nyu_files
    monkeypatch.setattr(sys, 'argv',
                        ['nyu_depth_v2.py', *paths[:2], '-o', paths[2]])
    nyu.main()
    assert 'train: 4 pairs' in capsys.readouterr().out
    for split, numbers in (('train', [1, 2, 4, 6]), ('test', [3, 5])):
        for number in numbers:
            files = {
                kind: read(tmp_path / 'out' / split / kind
                           / f'{number:04d}.png')
                for kind in ('rgb', 'depth', 'label')
            }
            np.testing.assert_array_equal(
                files['rgb'][..., ::-1], arrays['images'][..., number - 1])
            assert files['depth'].dtype == np.uint16
            assert np.abs(files['depth'] / 1000
                          - arrays['depths'][..., number - 1]).max() < 6e-4
            raw = arrays['labels'][..., number - 1]
            for value, expected in [(0, 0), (3, 3), (5, 5), (11, 2), (21, 1),
                                    (157, 4), (331, 31), (700, 38),
                                    (772, 39), (894, 40)]:
                assert (files['label'][raw == value] == expected).all()
    names = sorted(p.name for p in (tmp_path / 'out/train/rgb').iterdir())
    assert names == ['0001.png', '0002.png', '0004.png', '0006.png']
    assert not list(tmp_path.glob('*.partial'))


def test_nyu_class_table(nyu):
    """Sizes of the classes in the publishers' mapping to 40."""
    table = nyu.class_table()
    assert table.shape == (895, ) and table[0] == 0
    counts = np.bincount(table[1:], minlength=41)
    assert (counts[1:38] == 1).all()
    assert (counts[38], counts[39], counts[40]) == (68, 82, 707)


def test_nyu_refuses_to_overwrite(nyu, nyu_files, tmp_path):
    nyu.convert(*nyu_files[1])
    with pytest.raises(FileExistsError, match='out'):
        nyu.convert(*nyu_files[1])


@pytest.mark.parametrize('splits, message', [
    (dict(trainNdxs=[[1]], testNdxs=[[7]]), '1 to 7, but there are 6'),
    (dict(trainNdxs=[[0]], testNdxs=[[2]]), '0 to 2'),
    (dict(trainNdxs=[[1], [2]], testNdxs=[[2]]), 'twice'),
    (dict(trainNdxs=[[1]]), 'testNdxs'),
])
def test_nyu_bad_splits(nyu, nyu_files, tmp_path, splits, message):
    import scipy.io
    scipy.io.savemat(str(tmp_path / 'splits.mat'), splits)
    with pytest.raises(ValueError, match='splits.mat.*' + message):
        nyu.convert(*nyu_files[1])
    assert not (tmp_path / 'out').exists()
    assert not list(tmp_path.glob('*.partial'))


@pytest.mark.parametrize('key, value, message', [
    ('labels', 895, 'image 3 .* has label 895'),
    ('depths', np.nan, 'image 3 .* has depths'),
])
def test_nyu_bad_values(nyu, nyu_files, key, value, message):
    import h5py
    with h5py.File(nyu_files[1][0], 'r+') as file:
        file[key][2, 0, 0] = value
    with pytest.raises(ValueError, match=message):
        nyu.convert(*nyu_files[1])


def test_nyu_bad_files(nyu, nyu_files, tmp_path, exit_of_tool):
    import h5py
    labeled, splits, out = nyu_files[1]
    with h5py.File(labeled, 'r+') as file:
        del file['depths']
    with pytest.raises(ValueError, match="labeled.mat' has no .'depths'"):
        nyu.convert(labeled, splits, out)
    (tmp_path / 'page.mat').write_text('<html>')
    code, said = exit_of_tool('dataset_converters/nyu_depth_v2',
                              str(tmp_path / 'page.mat'), splits, '-o', out)
    assert code == 2 and 'page.mat' in said and 'not a MATLAB 7.3' in said
    with pytest.raises(FileNotFoundError, match='nowhere.mat'):
        nyu.convert('nowhere.mat', splits, out)


def test_missing_h5py_is_said(nyu, monkeypatch):
    monkeypatch.setitem(sys.modules, 'h5py', None)
    with pytest.raises(ModuleNotFoundError, match='pip install h5py'):
        nyu.convert('a.mat', 'b.mat', 'out')


@pytest.fixture
def sun(load_tool):
    return load_tool('dataset_converters/sun_rgbd')


def test_boxes_without_mmdet_are_refused(sun, monkeypatch):
    monkeypatch.setitem(sys.modules, 'mmdet', None)
    with pytest.raises(ImportError, match='needs mmdet.*not installed'):
        sun.convert('SUNRGBD', 'toolbox', 'out', boxes='boxes.mat')


@pytest.fixture
def sun_files(tmp_path):
    pytest.importorskip('h5py', reason="the publishers' labels are HDF5")
    truth = benchmarks.write_sun_rgbd(tmp_path)
    return truth, [
        str(tmp_path / name) for name in ('SUNRGBD', 'SUNRGBDtoolbox', 'out')
    ]


def test_sun_tree(sun, sun_files, tmp_path, monkeypatch, capsys):
    (depths, labels), paths = sun_files
    monkeypatch.setattr(sys, 'argv',
                        ['sun_rgbd.py', *paths[:2], '-o', paths[2]])
    sun.main()
    assert 'train: 3 pairs, test: 2 pairs' in capsys.readouterr().out
    for i, (sequence, name, split) in enumerate(benchmarks.SUN_SEQUENCES):
        folder = tmp_path / 'out' / split
        jpeg = tmp_path / 'SUNRGBD' / sequence / 'image' / f'{name}.jpg'
        assert (folder / f'rgb/{i + 1:05d}.jpg'
                ).read_bytes() == jpeg.read_bytes()
        # 9 m is cut off at 8 m, as in the publishers' code
        np.testing.assert_array_equal(
            read(folder / f'depth/{i + 1:05d}.png'),
            np.minimum(depths[i], 8000))
        np.testing.assert_array_equal(
            read(folder / f'label/{i + 1:05d}.png'), labels[i])


def test_sun_missing_file(sun, sun_files, tmp_path):
    path = next((tmp_path / 'SUNRGBD/xtion').rglob('depth_bfx/*.png'))
    path.unlink()
    with pytest.raises(FileNotFoundError, match=str(path)):
        sun.convert(*sun_files[1])
    assert not (tmp_path / 'out').exists()


def test_sun_depth_of_another_size(sun, sun_files, tmp_path):
    path = next((tmp_path / 'SUNRGBD/xtion').rglob('depth_bfx/*.png'))
    benchmarks.write(path, np.zeros((3, 4), np.uint16))
    with pytest.raises(ValueError, match='label image [1-5] of .*expected '
                       rf"\(3, 4\) as '{path}' and up to 37"):
        sun.convert(*sun_files[1])
    assert not (tmp_path / 'out').exists()


def test_sun_sequence_without_split(sun, sun_files, tmp_path):
    import scipy.io
    path = tmp_path / 'SUNRGBDtoolbox/traintestSUNRGBD/allsplit.mat'
    content = scipy.io.loadmat(str(path))
    scipy.io.savemat(
        str(path), {
            'alltrain': content['alltrain'][:, 1:],
            'alltest': content['alltest']
        })
    with pytest.raises(ValueError, match='NYU0001.* is in no split'):
        sun.convert(*sun_files[1])


def test_sun_labels_of_another_count(sun, sun_files, tmp_path):
    import h5py
    path = tmp_path / 'SUNRGBDtoolbox/Metadata/SUNRGBD2Dseg.mat'
    with h5py.File(path, 'r+') as file:
        references = file['SUNRGBD2Dseg/seglabel'][1:]
        del file['SUNRGBD2Dseg/seglabel']
        file.create_dataset(
            'SUNRGBD2Dseg/seglabel', data=references, dtype=h5py.ref_dtype)
    with pytest.raises(ValueError, match='4 label images.* 5 pairs'):
        sun.convert(*sun_files[1])


@pytest.mark.parametrize('name',
                         ['fmb', 'mfnet', 'msrs', 'ombria', 'pst900'])
def test_layout(load_tool, tmp_path, monkeypatch, capsys, name):
    getattr(benchmarks, f'write_{name}')(tmp_path / name)
    monkeypatch.setattr(sys, 'argv',
                        ['check_layout.py', name, str(tmp_path / name)])
    load_tool('dataset_converters/check_layout').main()
    out = capsys.readouterr().out
    assert 'train: 3 pairs of img_path' in out
    assert ('published' in out) == (name != 'pst900')


def test_wrong_layout_is_named(exit_of_tool, tmp_path):
    root = benchmarks.write_pst900(tmp_path / 'pst900')
    path = root / 'test/thermal_raw/31_bag1a_rect_rgb_frame0000000004.png'
    path.unlink()
    code, said = exit_of_tool('dataset_converters/check_layout', 'pst900',
                              str(root))
    assert code == 1 and str(path) in said

    code, said = exit_of_tool('dataset_converters/check_layout', 'msrs',
                              str(root))
    assert code == 1 and 'train/vi' in said

    floods = benchmarks.write_ombria(tmp_path / 'floods')
    path = floods / 'OmbriaS2/test/AFTER/S2_after_0003.png'
    path.rename(path.with_name('after_0003.png'))
    code, said = exit_of_tool('dataset_converters/check_layout', 'ombria',
                              str(floods))
    assert code == 1 and "should begin with 'S2_after_'" in said
