"""Which of the two OpenMMLab stacks the tests run on."""
from importlib import metadata


def is_official():
    """Whether it is the official one, not the maintained forks."""
    try:
        metadata.version('mmsegmentation')
    except metadata.PackageNotFoundError:
        return False
    return True
