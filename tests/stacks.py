"""What of the OpenMMLab stacks the tests run on."""
import importlib.util
from importlib import metadata

import pytest

from mwam_mm.stack import has_detection

has_classification = importlib.util.find_spec('mmpretrain') is not None
needs_detection = pytest.mark.skipif(
    not has_detection(), reason='needs mmdet and the compiled ops of mmcv')
needs_classification = pytest.mark.skipif(
    not has_classification, reason='needs mmpretrain')


def is_official():
    """Whether the stack is the official one, not the maintained forks."""
    try:
        metadata.version('mmsegmentation')
    except metadata.PackageNotFoundError:
        return False
    return True
