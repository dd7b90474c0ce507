"""What the dataset converters share."""
import numpy as np
import pytest
from PIL import Image

from mwam_mm.datasets.conversion import image_size


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
