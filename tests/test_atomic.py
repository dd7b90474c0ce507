"""Files that are written as a whole or not at all."""
from pathlib import Path

import pytest

from mwam_mm.atomic import new_tree, replacing


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


def test_a_folder_is_there_when_it_is_complete(tmp_path):
    root = tmp_path / 'data/set'
    with pytest.raises(KeyboardInterrupt):
        with new_tree(str(root)) as partial:
            (Path(partial) / 'a.txt').write_text('half')
            raise KeyboardInterrupt
    assert list((tmp_path / 'data').iterdir()) == []
    with new_tree(str(root)) as partial:
        (Path(partial) / 'a.txt').write_text('whole')
        assert not root.exists()
    assert (root / 'a.txt').read_text() == 'whole'
    assert list((tmp_path / 'data').iterdir()) == [root]
    with pytest.raises(FileExistsError, match="set' exists: delete it"):
        with new_tree(str(root)):
            pass
