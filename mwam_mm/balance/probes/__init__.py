"""Probes: where the signal of a training forward comes from."""
from .base import Probe
from .neck import NeckProbe
from .path import PathProbe

__all__ = ['NeckProbe', 'PathProbe', 'Probe']
