"""What all public benchmarks have in common."""
import pytest
from mmengine.registry import init_default_scope

from mwam_mm.datasets import FMBDataset
from tests.benchmarks import write_fmb


@pytest.fixture
def root(tmp_path):
    init_default_scope('mmseg')
    return write_fmb(tmp_path / 'fmb')


def test_unknown_split(root):
    with pytest.raises(ValueError, match="'val'.*FMBDataset.*'test'"):
        FMBDataset(str(root), 'val')


@pytest.mark.parametrize('folder', ['Visible', 'Label'])
def test_missing_partner(root, folder):
    path = root / 'train' / folder / '00003.png'
    path.unlink()
    with pytest.raises(FileNotFoundError, match='00003') as error:
        FMBDataset(str(root))
    assert str(root / 'train') in str(error.value)
    assert len(FMBDataset(str(root), 'test')) == 2


def test_nested_folders(root):
    for folder in ('Visible', 'Infrared', 'Label'):
        for path in sorted((root / 'train' / folder).iterdir()):
            nested = path.parent / 'a' / path.name
            nested.parent.mkdir(exist_ok=True)
            path.rename(nested)
    info = FMBDataset(str(root)).get_data_info(1)
    assert info['thermal_path'] == str(root / 'train/Infrared/a/00003.png')
    label = root / 'train/Label/a/00003.png'
    assert info['seg_map_path'] == str(label)
    label.unlink()
    with pytest.raises(FileNotFoundError, match='Label/a/00003.png'):
        FMBDataset(str(root))


def test_missing_folder(root, tmp_path):
    (root / 'test/Label').rename(root / 'test/label')
    with pytest.raises(FileNotFoundError, match='test/Label.*Infrared'):
        FMBDataset(str(root), 'test')
    with pytest.raises(FileNotFoundError, match='elsewhere'):
        FMBDataset(str(tmp_path / 'elsewhere'))


def test_folder_without_images(root):
    for path in (root / 'train').rglob('*.png'):
        path.unlink()
    with pytest.raises(FileNotFoundError, match='train/Visible'):
        FMBDataset(str(root))


def test_other_arguments_pass(root):
    assert len(FMBDataset(str(root), indices=2)) == 2
    assert not FMBDataset(
        str(root), reduce_zero_label=False).metainfo['reduce_zero_label']
    some = FMBDataset(str(root), metainfo=dict(classes=('road', 'car')))
    assert some.label_map[8] == 1
