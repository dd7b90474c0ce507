"""Files that are written as a whole or not at all."""
import pytest
import torch

from mwam_mm.atomic import check_whole, replacing


def test_a_file_with_its_folder(tmp_path):
    path = tmp_path / 'new/table.csv'
    with replacing(str(path)) as partial:
        assert partial.endswith('.csv')
        with open(partial, 'w') as f:
            f.write('all of it')
        assert not path.exists()
    assert path.read_text() == 'all of it'
    assert list(path.parent.iterdir()) == [path]


def test_what_was_there_stays_if_writing_fails(tmp_path):
    path = tmp_path / 'table.csv'
    path.write_text('earlier')
    with pytest.raises(OSError), replacing(str(path)) as partial:
        with open(partial, 'w') as f:
            f.write('half')
        raise OSError('disk full')
    assert path.read_text() == 'earlier'
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize('is_zip', [True, False])
def test_a_whole_checkpoint(tmp_path, is_zip):
    path = str(tmp_path / 'a.pth')
    torch.save(
        dict(a=torch.zeros(3)), path, _use_new_zipfile_serialization=is_zip)
    check_whole(path)
    check_whole(str(tmp_path / 'missing.pth'))
    check_whole('https://somewhere/a.pth')


@pytest.mark.parametrize('share', [0, 0.01, 0.5, 0.99])
def test_a_checkpoint_that_is_cut_off(tmp_path, share):
    path = tmp_path / 'a.pth'
    torch.save(dict(a=torch.zeros(300)), path)
    content = path.read_bytes()
    path.write_bytes(content[:int(len(content) * share)])
    with pytest.raises(ValueError, match=r'a\.pth.*not the whole.*bytes'):
        check_whole(str(path))
