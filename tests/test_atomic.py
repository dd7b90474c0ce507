"""Files that are written as a whole or not at all."""
import pytest

from mwam_mm.atomic import replacing


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
