"""How much of the fused loss's gradient reaches the branches."""
from mwam_mm.models.backbones import BranchOutputs
from mwam_mm.mwam import scale_gradient
from mwam_mm.registry import INTERVENTIONS

from ..signal import Signal
from .base import Context, Intervention
from .subsets import training_subsets

__all__ = ['Detach']


@INTERVENTIONS.register_module(name='detach')
class Detach(Intervention):
    """Let a share of the fused loss's gradient through to the branches.

    With 1 the branches learn from the model's own losses as ever; with 0 from
    the losses of their own only, which ``'combination'``, ``'loss'``,
    ``'lfm'`` or ``'mmpareto'`` add, as in Disentangled Gradient Learning.
    Fusion, neck and heads learn from all losses in either case.

    Args:
        share (float): How much gets through, from 0 to 1. Defaults to 0.
        weights (str): ``'even'``, or ``'k'``: the share of each modality is
            multiplied by its K. Defaults to ``'even'``.

    Raises:
        ValueError: If an argument is none of these.

    Examples:
        .. code-block:: python

            custom_hooks = [
                dict(type='mwam_mm.MWAMHook',
                     intervention=['combination',
                                   dict(type='detach', share=0.5)])
            ]
    """

    def __init__(self, share: float = 0., weights: str = 'even') -> None:
        if not 0 <= share <= 1:
            raise ValueError(f'"detach": share={share!r} must be from 0 to 1')
        if weights not in ('even', 'k'):
            raise ValueError(f'"detach": weights={weights!r}, but known are '
                             "['even', 'k']")
        self.share, self.by_k = share, weights == 'k'

    def check(self, context: Context) -> None:
        if not context.probe.gives_features:
            raise ValueError(
                f'{context.where} "detach" acts on the features of each '
                'modality, which branches=... does not name: build the model '
                'with MultiModalBackbone and MWAMNeck, and drop branches')
        if self.share == 0 and 'loss' not in context.interventions and \
                not training_subsets(context):
            raise ValueError(
                f'{context.where} "detach" with share=0 leaves the branches '
                'without any loss: add "combination" or "loss", or set a '
                'share above 0')

    def at_fusion(self, signal: Signal,
                  outputs: BranchOutputs) -> BranchOutputs:
        share = signal.weights.new_full((), self.share)
        k = dict(zip(signal.modalities, signal.weights))

        def scale(name, x):
            x = scale_gradient(x, share)
            return scale_gradient(x, k[name]) if self.by_k else x

        return outputs.map(scale)
