"""Optimizer rules written for a backbone, applied to every branch."""
import logging
import re
from functools import partial
from typing import Dict, List, Mapping, Optional, Tuple

from mmengine.logging import print_log
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import nn

from mwam_mm.attributes import replaced_attribute
from mwam_mm.config import type_name
from mwam_mm.registry import OPTIM_WRAPPER_CONSTRUCTORS
from mwam_mm.wrappers import unwrapped


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class MultiModalOptimWrapperConstructor:
    """Apply the rules that a stock config has for its backbone to each branch.

    Rules such as ``custom_keys`` go by the names of parameters, and some
    constructors ask for the class of ``model.backbone``. In a
    :class:`MultiModalBackbone` a parameter ``backbone.norm1.weight`` is called
    ``backbone.branches.rgb.norm1.weight``. This class shows the stock
    constructor one branch at a time in the place of the backbone.

    A key of ``custom_keys`` that names a branch, such as
    ``backbone.branches.rgb`` or ``backbone.branches.rgb.layer1``, acts on top
    of these rules, with any stock constructor: ``lr_mult`` and ``decay_mult``
    multiply what they give. Of several such keys the longest counts.

    Args:
        optim_wrapper_cfg (dict): As for the stock constructor.
        paramwise_cfg (dict, optional): Likewise. ``constructor`` in it names
            the stock constructor, by default
            ``'DefaultOptimWrapperConstructor'``.

    Raises:
        ValueError: If the model's backbone has no branches, or parameters
            beside them, or a key that names a branch matches no parameter.

    Examples:
        .. code-block:: python

            optim_wrapper = dict(
                constructor='mwam_mm.MultiModalOptimWrapperConstructor',
                paramwise_cfg=dict(
                    constructor='LayerDecayOptimizerConstructor',
                    custom_keys={'backbone.branches.rgb': dict(lr_mult=0.1)}))
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
        model = unwrapped(model)
        views = self._views(model)
        constructor = self.constructor
        add_params = constructor.add_params
        of_branches, others = self._rules_of_branches(model)

        def add_all(params: List[dict], module: nn.Module,
                    **kwargs) -> None:
            # The stock constructor calls itself for the children.
            if module is not model:
                add_params(params, module, **kwargs)
                return
            groups: List[dict] = []
            for view in views:
                add_params(groups, view, **kwargs)
            for group in groups:
                params.extend(self._split(group, of_branches))

        with replaced_attribute(constructor, 'add_params', add_all), \
                replaced_attribute(constructor, 'paramwise_cfg', others):
            return constructor(model)

    def _rules_of_branches(
            self, model: nn.Module) -> Tuple[Dict[nn.Parameter, dict], dict]:
        """The rules that name a branch, of which the stock constructor does
        not see the names.

        Returns:
            tuple[dict[nn.Parameter, dict], dict]: Parameter to its rule, and
            the ``paramwise_cfg`` without these rules.
        """
        cfg = self.constructor.paramwise_cfg
        keys = cfg.get('custom_keys', {})
        modalities = '|'.join(map(re.escape, model.backbone.branches))
        # HRNet has branches of its own, whose names are numbers.
        named = re.compile(
            rf'^backbone\.branches|(?:^|\.)branches\.(?:{modalities})(?:\.|$)')
        ours = sorted(filter(named.search, keys), key=len)
        if not ours:
            return {}, cfg
        rules: Dict[nn.Parameter, dict] = {}
        for key in ours:
            # The branch "rgb" is not that of "rgb_before".
            whole = re.search(rf'branches\.(?:{modalities})$', key)
            matching = [
                parameter for name, parameter in model.named_parameters()
                if (f'{key}.' if whole else key) in name
            ]
            if not matching:
                branches = [f'backbone.branches.{m}'
                            for m in model.backbone.branches]
                raise ValueError(
                    f'paramwise_cfg.custom_keys has {key!r}, which is in the '
                    f'name of no parameter; the branches are {branches}')
            rules.update(dict.fromkeys(matching, keys[key]))
        return rules, dict(
            cfg, custom_keys={k: v for k, v in keys.items() if k not in ours})

    def _split(self, group: dict,
               rules: Mapping[nn.Parameter, dict]) -> List[dict]:
        """The groups of a stock group's parameters after the branches' rules.
        """
        parts: Dict[int, List[int]] = {}
        for i, parameter in enumerate(group['params']):
            parts.setdefault(id(rules.get(parameter)), []).append(i)
        groups = []
        for indices in parts.values():
            part = {
                key: [group[key][i] for i in indices]
                if key in ('params', 'param_names') else value
                for key, value in group.items()
            }
            rule = rules.get(part['params'][0], {})
            for mult, key, base in (
                ('lr_mult', 'lr', self.constructor.base_lr),
                ('decay_mult', 'weight_decay', self.constructor.base_wd)):
                if mult in rule:
                    part[key] = part.get(key, base) * rule[mult]
            part.update({
                key: value
                for key, value in rule.items()
                if key not in ('lr_mult', 'decay_mult')
            })
            groups.append(part)
        return groups

    @staticmethod
    def _views(model: nn.Module) -> List[nn.Module]:
        """One module per branch, with that branch as ``backbone``."""
        backbone = getattr(model, 'backbone', model)
        branches = getattr(backbone, 'branches', None)
        if not isinstance(branches, nn.ModuleDict):
            raise ValueError(
                'MultiModalOptimWrapperConstructor is for models with a '
                f'MultiModalBackbone, not {type(backbone).__name__}. The '
                'rules of any other model go by the names of its own '
                'parameters: leave out optim_wrapper.constructor')
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
            if hasattr(branch, 'get_layer_depth'):  # MMPretrain asks the model
                view.get_layer_depth = partial(
                    branch.get_layer_depth, prefix='backbone.')
            if i == 0:  # the rest of the model, once
                for name, child in model.named_children():
                    if name != 'backbone':
                        view.add_module(name, child)
                view._parameters.update(model._parameters)
            views.append(view)
        return views


def check_rules_of_backbone(runner: Runner) -> None:
    """Warn of rules for a backbone that act on no branch, or on a whole one.

    MMEngine says nothing of ``custom_keys`` that are in no parameter's name,
    and ``backbone.norm``, say, is not in ``backbone.branches.rgb.norm``. A
    rule for ``norm`` is in all names of a branch called ``normals``.

    Args:
        runner (Runner): The runner.
    """
    cfg = runner.cfg.get('optim_wrapper') or {}
    constructor = dict(type=cfg.get('constructor') or '')
    if type_name(constructor) == 'MultiModalOptimWrapperConstructor':
        return
    keys = (cfg.get('paramwise_cfg') or {}).get('custom_keys') or {}
    # Fusions are named after the modalities, too, and a stock model has none.
    names = [
        name for name, _ in unwrapped(runner.model).named_parameters()
        if not name.startswith(('neck.fusions.', 'modality_heads.'))]
    stock = [re.sub(r'^backbone\.branches\.[^.]+', 'backbone', name)
             for name in names]
    # Keys that match no stock name were written for this model, such as those
    # that name a branch.
    keys = [key for key in keys if any(key in name for name in stock)]
    lost = [key for key in keys if not any(key in name for name in names)]
    widened = [key for key in keys
               if any(key in name and key not in stock_name
                      for name, stock_name in zip(names, stock))]
    for found, effect in ((lost, 'act on nothing'),
                          (widened, 'act on all parameters of a branch whose '
                           'name they are in')):
        if found:
            print_log(
                f'optim_wrapper.paramwise_cfg.custom_keys has {found}, which '
                f'{effect}: the parameters of the backbone are called '
                '"backbone.branches.<modality>..." here. Set '
                'optim_wrapper.constructor='
                '"mwam_mm.MultiModalOptimWrapperConstructor", which applies '
                'such rules to every branch', 'current', logging.WARNING)
