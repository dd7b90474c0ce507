"""Fixtures shared by the tests of training."""
import functools

import pytest
import torch
from mmengine.optim.optimizer import amp_optimizer_wrapper


@pytest.fixture
def amp(monkeypatch):
    """AmpOptimWrapper with a scaler that works, on CPUs too."""
    if torch.cuda.is_available():
        return
    monkeypatch.setattr(amp_optimizer_wrapper, 'is_cuda_available',
                        lambda: True)
    if hasattr(torch.amp, 'GradScaler'):  # from PyTorch 2.3 on
        monkeypatch.setattr(amp_optimizer_wrapper, 'GradScaler',
                            functools.partial(torch.amp.GradScaler, 'cpu'))
