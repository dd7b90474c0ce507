"""Sizes of image files."""
import cv2
import numpy as np
import pytest
from PIL import Image

from mwam_mm.datasets.image_files import image_size


def test_turned_jpegs_have_no_size(tmp_path):
    path = str(tmp_path / 'a.jpg')
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.zeros((8, 6, 3), np.uint8)).save(path, exif=exif)
    with pytest.raises(ValueError, match='a.jpg.*turned by its EXIF tag'):
        image_size(path)
    exif[0x0112] = 1
    Image.fromarray(np.zeros((8, 6, 3), np.uint8)).save(path, exif=exif)
    assert image_size(path) == (8, 6)


@pytest.mark.parametrize('name, channels, dtype', [
    ('a.png', 3, np.uint16),
    ('a.jpg', 3, np.uint8),
    ('a.tiff', 1, np.float32),
    ('a.tiff', 4, np.float32),  # which Pillow does not know
    ('a.npy', 2, np.float32),
])
def test_size(tmp_path, name, channels, dtype):
    path, array = tmp_path / name, np.ones((8, 6, channels), dtype)
    np.save(path, array) if name.endswith('npy') else cv2.imwrite(
        str(path), array)
    assert image_size(str(path)) == (8, 6)


@pytest.mark.parametrize('name', ['a.png', 'a.jpg', 'a.tiff', 'a.npy'])
@pytest.mark.parametrize('length', [0, 5, 20, 40])
def test_damaged_files_are_named(tmp_path, name, length):
    whole, path = tmp_path / f'whole_{name}', tmp_path / name
    np.save(whole, np.ones((8, 6))) if name.endswith('npy') else cv2.imwrite(
        str(whole), np.ones((8, 6, 3), np.uint8))
    path.write_bytes(whole.read_bytes()[:length])
    with pytest.raises(ValueError, match=f'{path}. is no image'):
        image_size(str(path))


def test_missing_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match='a.png'):
        image_size(str(tmp_path / 'a.png'))
