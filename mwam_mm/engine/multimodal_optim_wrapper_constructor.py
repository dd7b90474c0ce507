"""Optimizer rules written for a backbone, applied to every branch."""
from typing import List, Optional

from mmengine.optim import OptimWrapper
from torch import nn

from mwam_mm.registry import OPTIM_WRAPPER_CONSTRUCTORS


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class MultiModalOptimWrapperConstructor:
    """Apply the rules that a stock config has for its backbone to each branch.

    Rules such as ``custom_keys`` go by the names of parameters, and some
    constructors ask for the class of ``model.backbone``. In a
    :class:`MultiModalBackbone` a parameter ``backbone.norm1.weight`` is called
    ``backbone.branches.rgb.norm1.weight``. This class shows the stock
    constructor one branch at a time in the place of the backbone.

    Args:
        optim_wrapper_cfg (dict): As for the stock constructor.
        paramwise_cfg (dict, optional): Likewise. ``constructor`` in it names
            the stock constructor, by default
            ``'DefaultOptimWrapperConstructor'``.

    Raises:
        ValueError: If the model's backbone has no branches, or parameters
            beside them.

    Examples:
        .. code-block:: python

            optim_wrapper = dict(
                constructor='mwam_mm.MultiModalOptimWrapperConstructor',
                paramwise_cfg=dict(
                    constructor='LayerDecayOptimizerConstructor'))
    """

    def __init__(self,
                 optim_wrapper_cfg: dict,
                 paramwise_cfg: Optional[dict] = None) -> None:
        paramwise_cfg = dict(paramwise_cfg or {})
        type_ = paramwise_cfg.pop('constructor',
                                  'DefaultOptimWrapperConstructor')
        self.constructor = OPTIM_WRAPPER_CONSTRUCTORS.build(
            dict(
                type=type_,
                optim_wrapper_cfg=optim_wrapper_cfg,
                paramwise_cfg=paramwise_cfg))

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """Build the optimizer wrapper.

        Args:
            model (nn.Module): The model, or a wrapper of it.

        Returns:
            OptimWrapper: With the parameters of all branches.
        """
        model = getattr(model, 'module', model)
        views = self._views(model)
        constructor = self.constructor
        add_params = constructor.add_params

        def add_all(params: List[dict], module: nn.Module,
                    **kwargs) -> None:
            # The stock constructor calls itself for the children.
            for part in views if module is model else [module]:
                add_params(params, part, **kwargs)

        constructor.add_params = add_all
        try:
            return constructor(model)
        finally:
            del constructor.add_params

    @staticmethod
    def _views(model: nn.Module) -> List[nn.Module]:
        """One module per branch, with that branch as ``backbone``."""
        branches = getattr(model.backbone, 'branches', None)
        if branches is None:
            raise ValueError(
                'MultiModalOptimWrapperConstructor is for models with a '
                f'MultiModalBackbone, not {type(model.backbone).__name__}')
        shared = {id(p) for p in model.backbone.parameters()} - {
            id(p) for p in branches.parameters()}
        if shared:
            raise ValueError(
                f'{type(model.backbone).__name__} has {len(shared)} '
                'parameters beside its branches, for which the rules of a '
                'stock backbone say nothing')
        views = []
        for i, branch in enumerate(branches.values()):
            view = nn.Module()
            view.add_module('backbone', branch)
            if i == 0:  # the rest of the model, once
                for name, child in model.named_children():
                    if name != 'backbone':
                        view.add_module(name, child)
                view._parameters.update(model._parameters)
            views.append(view)
        return views
