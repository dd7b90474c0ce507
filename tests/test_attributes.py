"""Attributes that have another value for a while."""
from types import SimpleNamespace

import pytest
from torch import nn

from mwam_mm.attributes import replaced_attribute


def test_a_method_is_that_of_the_class_again():
    module = nn.Identity()
    with pytest.raises(KeyError), replaced_attribute(module, 'forward', len):
        assert module.forward is len
        raise KeyError
    assert 'forward' not in vars(module)
    module.forward = max  # by somebody else
    with replaced_attribute(module, 'forward', len):
        assert module.forward is len
    assert module.forward is max


def test_none_is_a_value():
    owner = SimpleNamespace(path=None)
    with replaced_attribute(owner, 'path', 'a'):
        assert owner.path == 'a'
    assert owner == SimpleNamespace(path=None)
