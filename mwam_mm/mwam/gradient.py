"""The gradient intervention (Alg. 1) as an autograd function."""
import torch
from torch import Tensor


class _ScaleGradient(torch.autograd.Function):

    @staticmethod
    def forward(ctx, x: Tensor, scale: Tensor) -> Tensor:
        # Autograd refuses a saved tensor that changes before backward.
        ctx.scale = scale
        return x.view_as(x)

    @staticmethod
    def backward(ctx, grad: Tensor):
        return grad * ctx.scale.to(grad), None


def scale_gradient(x: Tensor, scale: Tensor) -> Tensor:
    """Return ``x``; multiply the gradient that flows back to it by ``scale``.

    At the outputs of a branch this multiplies the gradient of every parameter
    of the branch, since backpropagation is linear.

    Args:
        x (Tensor): Any shape.
        scale (Tensor): 0-d. Backward takes the value that it has then.

    Returns:
        Tensor: ``x``, the same values.

    Examples:
        >>> import torch
        >>> x = torch.ones(2, requires_grad=True)
        >>> scale_gradient(x, torch.tensor(0.5)).sum().backward()
        >>> x.grad
        tensor([0.5000, 0.5000])
    """
    return _ScaleGradient.apply(x, scale)
