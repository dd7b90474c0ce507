"""The text of a config file."""
from math import isfinite
from typing import Any, Mapping

from yapf.yapflib import yapf_api

__all__ = ['Code', 'format_settings', 'to_code']

# The style of the configs that MMEngine dumps.
_STYLE = dict(
    based_on_style='pep8',
    blank_line_before_nested_class_or_def=True,
    split_before_expression_after_opening_paren=True)


class Code(str):
    """Text that stands in the config as it is, not as a string."""


def to_code(value: Any) -> str:
    """Python code of a config value, with mappings as calls of ``dict``.

    Args:
        value (Any): The value, of numbers, strings, None, :class:`Code`, and
            mappings, lists and tuples of these.

    Returns:
        str: The code, in one line.

    Examples:
        >>> to_code(dict(base=Code('_base_.model'), scale=(2, 0.5)))
        'dict(base=_base_.model, scale=(2, 0.5))'
    """
    if isinstance(value, Code):
        return str(value)
    if isinstance(value, Mapping):
        if all(isinstance(k, str) and k.isidentifier() for k in value):
            inner = ', '.join(f'{k}={to_code(v)}' for k, v in value.items())
            return f'dict({inner})'
        inner = ', '.join(f'{k!r}: {to_code(v)}' for k, v in value.items())
        return f'{{{inner}}}'
    if isinstance(value, (list, tuple)):
        inner = ', '.join(map(to_code, value))
        if isinstance(value, list):
            return f'[{inner}]'
        return f'({inner},)' if len(value) == 1 else f'({inner})'
    if isinstance(value, float) and not isfinite(value):
        return f"float('{value}')"
    return repr(value)


def format_settings(settings: Mapping[str, Any], title: str) -> str:
    """The text of a config file.

    Args:
        settings (Mapping[str, Any]): Name to value.
        title (str): What the comment in the first line says.

    Returns:
        str: The text, in the style of the configs that MMEngine dumps.
    """
    text = f'# {title}.\n' + ''.join(f'{name} = {to_code(value)}\n'
                                     for name, value in settings.items())
    return yapf_api.FormatCode(text, style_config=_STYLE)[0]
