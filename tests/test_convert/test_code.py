"""The text of config files."""
import math

import pytest
from mmengine.config import Config

from mwam_mm.convert.code import Code, format_settings, to_code


@pytest.mark.parametrize('value', [
    dict(a=1, b=[1., 'x y, z'], c=(1, ), d=(), e=None),
    dict(a=float('inf'), b=(-float('inf'), )),
    {'a.b': (1, 2), 'c': dict()},
])
def test_code(value):
    text = format_settings(dict(v=value), 'Title')
    assert text.splitlines()[0] == '# Title.'
    scope = {}
    exec(text, scope)
    assert scope['v'] == value


def test_lines_break_at_commas():
    value = {f'key_{i}': ['a b c, d'] * 3 for i in range(9)}
    text = format_settings(dict(value=value), 'Title')
    assert text.count('\n') > 3
    assert max(map(len, text.splitlines())) <= 79
    scope = {}
    exec(text, scope)
    assert scope['value'] == value


def test_code_is_not_quoted():
    assert to_code([Code('_base_.model'), '_base_.model']) == \
        "[_base_.model, '_base_.model']"


def test_nan_can_be_read_again():
    scope = {}
    exec(format_settings(dict(v=[float('nan')]), 'Title'), scope)
    assert math.isnan(scope['v'][0])


def test_style_is_that_of_dumped_configs(plain_dumps):
    """Which sort the keys."""
    settings = dict(
        model=dict(
            backbone=dict(depth=18, norm_cfg=dict(type='BN'), type='ResNet'),
            decode_head=dict(channels=128, in_channels=512, type='FCNHead'),
            type='EncoderDecoder'))
    assert format_settings(settings, 'Title') == \
        '# Title.\n' + plain_dumps(Config(settings))
