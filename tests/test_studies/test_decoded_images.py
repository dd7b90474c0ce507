import mmcv
import mmengine.fileio
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope

from mwam_mm.studies.decoded_images import DecodedImages
from tests.studies import write_study


@pytest.fixture
def dataset(tmp_path, monkeypatch):
    """A dataset of files; what is replaced to read them is put back."""
    monkeypatch.setattr(mmcv, 'imfrombytes', mmcv.imfrombytes)
    monkeypatch.setattr(mmengine.fileio, 'get', mmengine.fileio.get)
    write_study(tmp_path)
    init_default_scope('mmseg')
    cfg = Config.fromfile(tmp_path / 'job.py')
    return dict(cfg.val_dataloader.dataset)


def test_images_stay_in_memory(dataset, tmp_path):
    expected = DATASETS.build(dataset)
    expected = [expected[i]['inputs'] for i in range(len(expected))]
    images = DecodedImages(2**30)
    images.fill(dataset)
    built = DATASETS.build(dataset)
    root = tmp_path / 'msrs'
    kept = root / 'test/vi/00003N.png'
    for path in root.rglob('test/*/*.png'):
        path.write_bytes(b'')
    for _ in range(2):
        for i, image in enumerate(expected):
            assert torch.equal(built[i]['inputs'], image)
    content = mmengine.fileio.get(str(kept))
    first, second = (
        mmcv.imfrombytes(content, flag='unchanged', backend='cv2')
        for _ in range(2))
    assert first.flags.writeable
    first[:] = 0  # nobody else sees it
    assert second.any()


def test_what_is_kept_is_by_itself(dataset, tmp_path):
    """And by the way it is decoded; after filling nothing is added."""
    images = DecodedImages(2**30)
    images._filling = True
    path = next((tmp_path / 'msrs').rglob('test/vi/*.png'))
    content = mmengine.fileio.get(str(path))
    first = mmcv.imfrombytes(content, flag='color')
    first[:] = 0  # as transforms do
    assert mmcv.imfrombytes(content, flag='color').any()
    assert mmcv.imfrombytes(content, flag='grayscale').ndim == 2
    images.fill(dataset)
    count = len(images._files)
    assert count > 1
    other = next((tmp_path / 'msrs').rglob('train/vi/*.png'))
    assert mmengine.fileio.get(str(other)) == other.read_bytes()
    assert len(images._files) == len(images._images) == count


def test_images_beyond_the_memory_are_read(dataset, tmp_path):
    DecodedImages(1).fill(dataset)  # room for the first sample only
    built = DATASETS.build(dataset)
    for path in (tmp_path / 'msrs').rglob('test/*/*.png'):
        path.unlink()
    built[0]
    with pytest.raises(FileNotFoundError, match='00005D'):
        built[1]
