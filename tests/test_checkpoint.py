"""What a file of weights holds."""
import pytest
import torch

from mwam_mm.checkpoint import check_whole, weights_of


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


def test_weights():
    x = torch.zeros(3)
    assert weights_of(dict(a=x), 'a.pth') == dict(a=x)
    assert weights_of(
        dict(meta={}, state_dict={'module.a.module.b': x, 'c': 1}),
        'a.pth') == {'a.module.b': x, 'c': 1}


@pytest.mark.parametrize('checkpoint, held', [
    ([torch.zeros(3)], 'list'),
    (7, 'int'),
    (dict(), r'\[\]'),
    (dict(meta=dict(), seed=3), r"\['meta', 'seed'\]"),
    (dict(state_dict=[torch.zeros(3)]), r"\['state_dict'\]"),
])
def test_what_holds_no_weights(checkpoint, held):
    with pytest.raises(ValueError, match=f'a.pth holds no weights.* {held}'):
        weights_of(checkpoint, 'a.pth')
