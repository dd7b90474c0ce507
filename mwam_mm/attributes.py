"""Attributes that have another value for a while."""
from contextlib import contextmanager
from typing import Any, Iterator

__all__ = ['replaced_attribute']


@contextmanager
def replaced_attribute(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Give an attribute another value within the context.

    Args:
        owner (Any): An object or a module. What it has of its class, such as a
            method, it has of its class again afterwards.
        name (str): Name of the attribute.
        value (Any): The value.
    """
    is_own = name in vars(owner)
    before = vars(owner).get(name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        if is_own:
            setattr(owner, name, before)
        else:
            delattr(owner, name)
