"""What DDP and FSDP wrap around a model."""
from mmengine.model import is_model_wrapper
from torch import nn

__all__ = ['count_sharded_units', 'unwrapped']


def unwrapped(model: nn.Module) -> nn.Module:
    """The model itself.

    Args:
        model (nn.Module): The model, in a wrapper or not.

    Returns:
        nn.Module: The model without its wrapper.
    """
    return model.module if is_model_wrapper(model) else model


def count_sharded_units(module: nn.Module) -> int:
    """Number of modules whose parameters FSDP gathers when they run.

    Args:
        module (nn.Module): The module, which counts as well.

    Returns:
        int: The number; 0 of a module that is not sharded.
    """
    # By name, as FSDP cannot be imported where PyTorch has no distributed
    # package, and as its second version changes the class of a module.
    return sum(
        any(c.__name__ in ('FullyShardedDataParallel', 'FSDPModule')
            for c in type(m).__mro__) for m in module.modules())
