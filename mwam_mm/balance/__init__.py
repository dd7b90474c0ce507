"""What a balancing method is made of.

A weigher turns the signal of a training forward into one weight K for each
modality; an intervention is where K acts. Any of the one goes with any of the
other. :class:`mwam_mm.engine.BalanceHook` puts them into a training run.
"""
from .interventions import Context, Intervention
from .probes import NeckProbe, PathProbe, Probe
from .signal import Signal
from .weighers import Weigher

__all__ = [
    'Context', 'Intervention', 'NeckProbe', 'PathProbe', 'Probe', 'Signal',
    'Weigher'
]
