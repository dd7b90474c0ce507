"""Interventions: where the weights K act on training."""
from .base import Context, Intervention
from .dropout import Dropout
from .gradient import Gradient
from .loss import Loss
from .update import Update

__all__ = [
    'Context', 'Dropout', 'Gradient', 'Intervention', 'Loss', 'Update'
]
