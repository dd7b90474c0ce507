"""What the conversion says in the log."""
import logging

from mmengine.logging import print_log

__all__ = ['notice']


def notice(message: str) -> None:
    """Say in the log what of a base could not stay as it was."""
    print_log(
        f'multimodal: {message}', logger='current', level=logging.WARNING)
