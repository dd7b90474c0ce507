"""The method itself, in plain PyTorch: FRM, bank, allocation, intervention."""
from .allocation import allocate
from .bank import FRMBank
from .dropout import dropout_probabilities
from .frm import frm
from .gradient import scale_gradient
from .mwam import MWAM

__all__ = [
    'FRMBank', 'MWAM', 'allocate', 'dropout_probabilities', 'frm',
    'scale_gradient'
]
