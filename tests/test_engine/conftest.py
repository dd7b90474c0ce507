"""Fixtures shared by the tests of training."""
import functools

import pytest
import torch
from mmengine.device import get_device
from mmengine.optim.optimizer import amp_optimizer_wrapper


@pytest.fixture
def amp(monkeypatch):
    """AmpOptimWrapper with a scaler that works, on CPUs too."""
    if get_device() != 'cpu':
        return
    monkeypatch.setattr(amp_optimizer_wrapper, 'is_cuda_available',
                        lambda: True)
    if hasattr(torch.amp, 'GradScaler'):  # from PyTorch 2.3 on
        scaler = functools.partial(torch.amp.GradScaler, 'cpu')
    else:
        scaler = functools.partial(torch.cuda.amp.GradScaler, enabled=False)
    monkeypatch.setattr(amp_optimizer_wrapper, 'GradScaler', scaler)
