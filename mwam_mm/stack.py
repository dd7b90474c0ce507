"""Check that a supported OpenMMLab stack is installed."""
import importlib
import importlib.util
import io
from contextlib import contextmanager, redirect_stdout
from importlib.metadata import PackageNotFoundError, distribution
from types import ModuleType
from typing import Iterator, Optional

from .torchvision_stand_in import torchvision_or_stand_in

__all__ = ['check_scope', 'check_stack', 'has_detection', 'has_segmentation']

# First tested version and first untested one, by import name. The maintained
# forks (onedl-*) and the official packages share the import names.
_TESTED = {
    'mmengine': ('0.10.3', '1.0.0'),
    'mmcv': ('2.0.0rc4', '3.0.0'),
    'mmseg': ('1.0.0', '2.0.0'),
    'mmdet': ('3.0.0', '4.0.0'),
    'mmpretrain': ('1.3.6', '2.0.0'),
}

_CHOICES = """
mwam_mm runs on either OpenMMLab stack; install one of them, never both, as
their import names are the same:
  maintained: pip install onedl-mmengine onedl-mmcv onedl-mmsegmentation
              (for detection also onedl-mmdetection, with mmcv's compiled ops,
              for classification also onedl-mmpretrain)
  official:   pip install openmim
              mim install mmengine mmcv mmsegmentation
              (for detection also mmdet)"""
_OPS = """
mmdet, and mmseg of the official stack, needs the compiled ops of mmcv, which
is installed without them:
  In a checkout of mwam_mm, build them by: make test
  elsewhere, with torch, setuptools and ninja installed, by:
              pip install --no-build-isolation --no-cache-dir \\
                  --force-reinstall --no-deps onedl-mmcv
              (official stack: mim install mmcv)"""


def check_stack(*packages: str) -> None:
    """Check that OpenMMLab packages are installed in tested versions.

    Args:
        packages (str): Import names, any of ``'mmengine'``, ``'mmcv'``,
            ``'mmseg'``, ``'mmdet'`` and ``'mmpretrain'``. Defaults to the two
            that every OpenMMLab part of mwam_mm needs, mmengine and mmcv.

    Raises:
        ImportError: If a package is not installed or its version is not one
            of the tested; the message names both stacks. Also if mmdet lacks
            the compiled ops of mmcv; the message says how to build them.

    Examples:
        >>> check_stack()
        >>> check_stack('mmdet')
    """
    for name in packages or ('mmengine', 'mmcv'):
        minimum, limit = _TESTED[name]
        try:
            version = _import(name).__version__
        except ModuleNotFoundError as error:
            if error.name != name:  # installed, but something it needs is not
                raise
            raise ImportError(f'mwam_mm needs {name}>={minimum},<{limit}, '
                              f'which is not installed.{_CHOICES}') from error
        # mmengine is the one package that every other needs
        from mmengine.utils import digit_version
        if not (digit_version(minimum) <= digit_version(version) <
                digit_version(limit)):
            raise ImportError(f'mwam_mm needs {name}>={minimum},<{limit}, but '
                              f'{version} is installed.{_CHOICES}')
        if name == 'mmdet':
            try:
                importlib.import_module('mmcv.ops')
            except ImportError as error:
                raise ImportError(_OPS) from error
    _find_configs_of_mmseg()


def check_scope(scope: Optional[str]) -> None:
    """Check what a config needs by its default scope.

    Without it MMEngine would just not find the models.

    Args:
        scope (str, optional): The ``default_scope``.

    Raises:
        ImportError: If it is for detection or classification, which is not
            fully installed; see :func:`check_stack`.
    """
    if scope in ('mmdet', 'mmpretrain'):
        check_stack(scope)


def _import(name: str) -> ModuleType:
    """Import a package, MMPretrain also without torchvision."""
    if name != 'mmpretrain':
        return importlib.import_module(name)
    with torchvision_or_stand_in():
        module = importlib.import_module(name)
        for part in ('datasets', 'evaluation', 'models'):
            importlib.import_module(f'{name}.{part}')
    return module


def _find_configs_of_mmseg() -> None:
    """Let configs inherit from ``mmseg::...`` on the maintained stack.

    MMEngine looks for such a config in the distribution ``mmsegmentation``
    and says that it is not installed, since the maintained one has another
    name. Where a distribution is not found, MMEngine takes the name for that
    of a module, so the module's name works with any distribution.
    """
    from mmengine.config.utils import MODULE2PACKAGE
    try:
        distribution(MODULE2PACKAGE['mmseg'])
    except PackageNotFoundError:
        if importlib.util.find_spec('mmseg') is not None:
            MODULE2PACKAGE['mmseg'] = 'mmseg'


@contextmanager
def _without_notes() -> Iterator[None]:
    """Leave out what the maintained stack prints four times at its import:
    that a package which nobody needs here is not installed."""
    said = io.StringIO()
    try:
        with redirect_stdout(said):
            yield
    finally:
        for line in said.getvalue().splitlines():
            if not line.startswith('Could not import OneDL'):
                print(line)


def has_segmentation() -> bool:
    """Whether mmseg is installed.

    The parts of mwam_mm for segmentation are left out where it is not, so
    that detection does without.

    Raises:
        ImportError: If it lacks the compiled ops of mmcv, which the official
            one imports. Detection lacks them then as well.
    """
    if importlib.util.find_spec('mmseg') is None:
        return False
    try:
        with _without_notes():
            importlib.import_module('mmseg.datasets')
    except ModuleNotFoundError as error:
        if error.name != 'mmcv._ext':
            raise
        raise ImportError(_OPS) from error
    return True


def has_detection() -> bool:
    """Whether mmdet is installed and finds the compiled ops of mmcv.

    The parts of mwam_mm for detection are left out where it is not, so that
    segmentation does without.
    """
    try:
        importlib.import_module('mmcv.ops')
        with _without_notes():
            importlib.import_module('mmdet.datasets')
    except ImportError:
        return False
    return True
