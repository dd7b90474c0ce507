"""Interventions: where the weights K act on training."""
from .base import Context, Intervention
from .combination import Combination
from .detach import Detach
from .distill import Distill
from .dropout import Dropout
from .gradient import Gradient
from .lfm import LFM
from .loss import Loss
from .mmpareto import MMPareto
from .noise import Noise
from .update import Update

__all__ = [
    'Combination', 'Context', 'Detach', 'Distill', 'Dropout', 'Gradient',
    'Intervention', 'LFM', 'Loss', 'MMPareto', 'Noise', 'Update'
]
