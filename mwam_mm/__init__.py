"""Balanced multimodal learning with MWAM for OpenMMLab.

Importing the package needs PyTorch only; ``mwam_mm.mwam`` is plain PyTorch
and stays so. The OpenMMLab parts check the stack when they are imported, see
:mod:`mwam_mm.stack`.
"""
from .version import __version__

__all__ = ['__version__']
