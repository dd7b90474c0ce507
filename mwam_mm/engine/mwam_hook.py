"""MWAM on any host model, by module path."""
from itertools import compress
from typing import (
    Any,
    Callable,
    Dict,
    Iterator,
    List,
    Mapping,
    Optional,
    Sequence,
    Set,
    Tuple,
    Union,
)

import torch
from mmengine.dist import get_world_size, is_distributed
from mmengine.hooks import Hook, LoggerHook
from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapperDict
from mmengine.utils import apply_to
from torch import Tensor, nn

from mwam_mm.layout import ModalityLayout, check_layouts
from mwam_mm.mwam import MWAM
from mwam_mm.registry import HOOKS

from .interventions import (
    check_dropout,
    check_interventions,
    drop_modalities,
    is_adaptive,
    scale_updates,
)
from .random_state import (
    random_state,
    restore_for_training,
    set_random_state,
)

Paths = Union[str, List[str]]
Parameters = Dict[str, List[nn.Parameter]]


def _is_sharded(model: nn.Module) -> bool:
    if not is_distributed():
        return False
    from torch.distributed.fsdp import FullyShardedDataParallel
    return any(
        isinstance(m, FullyShardedDataParallel) for m in model.modules())


def _hook_gradient(p: nn.Parameter, function: Callable) -> Any:
    """Register a hook, also on a parameter that is frozen for now."""
    requires_grad = p.requires_grad
    handle = p.requires_grad_().register_hook(function)
    p.requires_grad_(requires_grad)
    return handle


def _is_image(x: Any) -> bool:
    return isinstance(x, Tensor) and x.ndim == 4


@HOOKS.register_module()
class MWAMHook(Hook):
    r"""Weight the training signal of each modality's branch.

    Each training forward measures the frequency ratio metric (FRM) of what
    enters the branches, smooths it in a bank and turns it into one weight per
    modality,

    .. math::
        K_m = \alpha - \frac{\beta}{1 + e^{-\lambda (T_m - \gamma)}},

    (Eq. 5 of `Plug, Play, and Fortify <https://arxiv.org/abs/2602.22644>`_).
    How the weights act says ``intervention``, one of these or a list:

    - ``'gradient'`` multiplies the gradients of the branch's parameters
      before anything else sees them: clipping, all-reduce and optimizer act
      on scaled gradients. For SGD; Adam divides the factor out again.
    - ``'update'`` multiplies what a step of the optimizer changes in the
      branch's parameters (Alg. 1), weight decay included, so it acts with
      every optimizer. Where gradients are accumulated, K is that of the last
      micro-batch. A step that the fp16 scaler skips stays skipped.
    - ``'loss'`` adds a loss per modality, multiplied by K (Eq. 7). Needs
      :class:`MWAMNeck` and :func:`with_modality_heads`.
    - ``'dropout'`` drops modalities of the training samples, with
      probabilities that follow the K of the previous iteration, see
      :func:`dropout_probabilities`. Needs a data preprocessor of this
      package, and replaces :class:`RandomDropModality`.

    Parameters outside the branches are untouched, and so is inference.

    The weights and the smoothed metric are logged as ``mwam/K_<modality>``
    and ``mwam/FRM_<modality>``. The bank, and in runs of one process the
    state of the random generators, are saved in checkpoints under ``mwam``
    and restored when training resumes.

    Note:
        Without ``branches`` the hook looks after the :class:`MWAMNeck` of the
        model, which then does the weighting: it logs, saves and restores.

    Args:
        branches (dict[str, str | list[str]], optional): Modality to the path
            or paths of the modules whose parameters are its branch.
            Defaults to None, see the note.
        inputs (dict[str, str], optional): Modality to the path of the module
            that the modality's image of shape (B, C, H, W) enters as the
            first image-like argument. Defaults to None, the first path of
            each branch.
        intervention (str | list[str]): How K acts, see above. Defaults to
            ``'gradient'``.
        mwam (dict, optional): Arguments of :class:`mwam_mm.mwam.MWAM`.
            Defaults to None, the paper's constants.

    Raises:
        ValueError: When training starts, if a path matches no module or no
            parameter, two modalities share a parameter, or the
            model weights its branches already. Before that, if
            ``intervention`` is unknown or names one twice.

    Examples:
        .. code-block:: python

            custom_hooks = [
                dict(type='mwam_mm.MWAMHook',
                     branches=dict(rgb='backbone.rgb_stream',
                                   depth='backbone.depth_stream'),
                     intervention='update')
            ]
    """

    priority = 'NORMAL'

    def __init__(self,
                 branches: Optional[Mapping[str, Paths]] = None,
                 inputs: Optional[Mapping[str, str]] = None,
                 intervention: Union[str, Sequence[str]] = 'gradient',
                 mwam: Optional[dict] = None) -> None:
        self.interventions = check_interventions(intervention)
        if branches is not None and 'loss' in self.interventions:
            raise ValueError(
                'MWAMHook.intervention "loss" needs the features of each '
                'modality and heads for them, which branches=... does not '
                'name: build the model with MultiModalBackbone, MWAMNeck and '
                'mwam_mm.with_modality_heads, and drop branches')
        if branches is None and (inputs is not None or mwam is not None):
            raise ValueError(
                'MWAMHook without branches looks after an MWAMNeck: give the '
                'constants there, as model.neck.mwam, and no inputs')
        if branches is not None and not branches:
            raise ValueError('MWAMHook.branches is empty: name the modalities')
        self.branches = None if branches is None else {
            name: [paths] if isinstance(paths, str) else list(paths)
            for name, paths in branches.items()
        }
        self.inputs = dict(inputs or {})
        unknown = set(self.inputs) - set(self.branches or {})
        if unknown:
            raise ValueError(f'MWAMHook.inputs names {sorted(unknown)}, but '
                             f'the branches are {list(self.branches or {})}')
        self.mwam = None if self.branches is None else MWAM(
            list(self.branches), **(mwam or {}))
        self._saved_state: Optional[Dict[str, Any]] = None
        self._random_state: Optional[Dict[str, Any]] = None
        self._random_state_of_training: Optional[Dict[str, Any]] = None
        self._handles: list = []
        self._layout: Optional[ModalityLayout] = None
        self._heads: Optional[nn.ModuleDict] = None
        self._in_forward = False
        self._entered: Dict[str, Tensor] = {}
        self._warned: Set[Tuple[str, ...]] = set()

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """Keep the bank until training starts.

        Args:
            runner (Runner): The runner of the training process.
            checkpoint (dict): The loaded checkpoint.
        """
        self._saved_state = checkpoint.get('mwam')

    def before_train(self, runner) -> None:
        """Attach to the model and, when resuming, restore the bank.

        Args:
            runner (Runner): The runner of the training process.
        """
        model = runner.model
        if is_model_wrapper(model):
            model = model.module
        if self.branches is None:
            neck = self._find_neck(model)
            neck.interventions = self.interventions
            self.mwam = neck.mwam
            parameters = self._neck_branches(model)
            self._set_up_heads(model)
        else:
            parameters = self._attach(model)
        self._check_set_up(runner, model, parameters)
        self.mwam.to(next(model.parameters()).device)
        self._set_up_optimizers(runner, parameters)
        if 'dropout' in self.interventions:
            self._layout = check_dropout(runner, model, self.mwam)
        if runner.iter == 0:
            return
        if self._saved_state is None:
            runner.logger.info('The checkpoint holds no MWAM state: the bank '
                               'starts empty.')
            return
        self.mwam.load_state_dict(self._saved_state)
        if get_world_size() == 1:
            self._random_state = self._saved_state.get('random_state')
        if self._heads is None:
            return
        if 'modality_heads' in self._saved_state:
            self._heads.load_state(self._saved_state['modality_heads'])
        else:
            runner.logger.info('The checkpoint holds no modality heads: they '
                               "start as copies of the model's own.")

    def before_train_epoch(self, runner) -> None:
        """Go on with the random numbers of the interrupted run.

        Args:
            runner (Runner): The runner of the training process.
        """
        if self._random_state is not None:
            restore_for_training(runner.train_loop, self._random_state)
            self._random_state = None

    def before_val(self, runner) -> None:
        """Keep the random state: a resumed run does not repeat the validation
        that followed its checkpoint.

        Args:
            runner (Runner): The runner of the validation process.
        """
        self._random_state_of_training = random_state()

    def after_val(self, runner) -> None:
        """Go on with the random numbers of training.

        Args:
            runner (Runner): The runner of the validation process.
        """
        set_random_state(self._random_state_of_training)
        self._random_state_of_training = None

    def before_train_iter(self,
                          runner,
                          batch_idx: int,
                          data_batch=None) -> None:
        """Drop modalities, if that is an intervention.

        Args:
            runner (Runner): The runner of the training process.
            batch_idx (int): The index of the current batch in the train loop.
            data_batch (dict, optional): Data from dataloader. Defaults to
                None.
        """
        if 'dropout' in self.interventions:
            drop_modalities(runner, data_batch, self.mwam, self._layout)

    def after_train_iter(self,
                         runner,
                         batch_idx: int,
                         data_batch=None,
                         outputs: Optional[dict] = None) -> None:
        """Log K and FRM, as often as the logger writes.

        Args:
            runner (Runner): The runner of the training process.
            batch_idx (int): The index of the current batch in the train loop.
            data_batch (Sequence[dict], optional): Data from dataloader.
                Defaults to None.
            outputs (dict, optional): Outputs from model. Defaults to None.
        """
        interval = next((hook.interval for hook in runner.hooks
                         if isinstance(hook, LoggerHook)), 1)
        # Reading the values waits for the device, so not every iteration.
        if not (self.every_n_inner_iters(batch_idx, interval)
                or self.end_of_epoch(runner.train_dataloader, batch_idx)):
            return
        hub = runner.message_hub
        unseen = []
        for name, weight, frm in zip(self.mwam.modalities,
                                     self.mwam.weights.tolist(),
                                     self.mwam.frm.tolist()):
            hub.update_scalar(f'train/mwam/K_{name}', weight)
            if frm == frm:
                hub.update_scalar(f'train/mwam/FRM_{name}', frm)
            else:
                unseen.append(name)
        abnormal = list(compress(self.mwam.modalities,
                                 self.mwam.abnormal.tolist()))
        since = f'by iteration {runner.iter + 1}'
        if abnormal:
            self._warn_once(
                runner, ('abnormal', *abnormal),
                f'MWAM met inputs of {abnormal} whose FRM is not '
                f'finite {since}: NaN, Inf or huge values. It leaves such '
                'batches out and goes on with the values before; '
                'mmdet.CheckInvalidLossHook stops a training whose loss is '
                'no longer finite.')
        if unseen:
            self._warn_once(
                runner, ('unseen', *unseen),
                f'MWAM has seen no usable input of {unseen} {since}; '
                'their weight stays 1. If the data has them, name the module '
                'that the image enters in MWAMHook.inputs, and check that '
                'training calls the model itself, not a method of it.')

    def _warn_once(self, runner, key: Tuple[str, ...], message: str) -> None:
        if key not in self._warned:
            self._warned.add(key)
            runner.logger.warning(message)

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """Save the bank and what trains beside the model.

        Args:
            runner (Runner): The runner of the training process.
            checkpoint (dict): The checkpoint to save.
        """
        if self.mwam is None:
            return
        state = self.mwam.state_dict()
        if self._heads is not None:
            state['modality_heads'] = self._heads.state()
        if get_world_size() == 1:  # only the first rank saves
            # CheckpointHook with save_best saves within the validation.
            state['random_state'] = (
                self._random_state_of_training or random_state())
        checkpoint['mwam'] = apply_to(state, lambda x: isinstance(x, Tensor),
                                      lambda x: x.cpu())

    def after_train(self, runner) -> None:
        """Detach from the model.

        Args:
            runner (Runner): The runner of the training process.
        """
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    @staticmethod
    def _weighting_necks(model: nn.Module) -> Iterator[nn.Module]:
        from mwam_mm.models import MWAMNeck
        return (m for m in model.modules()
                if isinstance(m, MWAMNeck) and m.mwam is not None)

    def _find_neck(self, model: nn.Module) -> nn.Module:
        necks = list(self._weighting_necks(model))
        if len(necks) != 1:
            raise ValueError(
                f'MWAMHook without branches needs one MWAMNeck with mwam in '
                f'the model, but found {len(necks)}: set '
                'model.neck.mwam=dict(), or give MWAMHook.branches')
        necks[0].has_hook = True
        return necks[0]

    @staticmethod
    def _neck_branches(model: nn.Module) -> Parameters:
        """Modality to the parameters of its branch, with an MWAMNeck."""
        from mwam_mm.models import MultiModalBackbone
        return {
            name: list(branch.parameters())
            for backbone in model.modules()
            if isinstance(backbone, MultiModalBackbone)
            for name, branch in backbone.branches.items()
        }

    def _set_up_heads(self, model: nn.Module) -> None:
        self._heads = getattr(model, 'modality_heads', None)
        if 'loss' in self.interventions:
            if self._heads is None:
                raise ValueError(
                    'MWAMHook.intervention "loss" needs heads for each '
                    'modality in the model: set model.host to what model.type '
                    "is now, and model.type='mwam_mm.with_modality_heads'")
            # As they are now, initialised or loaded.
            model.reset_modality_heads()
        elif self._heads is not None:
            raise ValueError(
                'the model has heads for each modality, which intervention='
                f'{list(self.interventions)} of MWAMHook does not train: add '
                '"loss", or build the model without with_modality_heads')

    def _check_set_up(self, runner, model: nn.Module,
                      parameters: Parameters) -> None:
        check_layouts(model)
        scales = {'gradient', 'update'}.intersection(self.interventions)
        for name, branch in parameters.items():
            if scales and branch and not any(p.requires_grad for p in branch):
                runner.logger.warning(
                    f'The branch of modality "{name}" is frozen: its weight K '
                    f'acts on nothing by {list(self.interventions)}.')
        if _is_sharded(runner.model):
            # It runs on views of the parameters, whose hooks never fire, and
            # without use_orig_params takes them away.
            if self.branches is not None and 'gradient' in self.interventions:
                raise ValueError(
                    'MWAMHook cannot scale the gradients of branches=... '
                    'under FSDP: use MWAMNeck with model.neck.mwam, '
                    'intervention="update" or DistributedDataParallel')
            if 'update' in self.interventions and not all(parameters.values()):
                raise ValueError(
                    'MWAMHook.intervention "update" finds no parameters of '
                    'the branches: set use_orig_params=True in FSDP')
        if 'loss' in self.interventions and runner.cfg.get('compile'):
            raise ValueError('MWAMHook.intervention "loss" runs the heads in '
                             'ways that torch.compile does not follow: set '
                             'compile=False in the config')
        recomputed = runner.cfg.get('activation_checkpointing') or []
        if isinstance(recomputed, str):
            recomputed = [recomputed]
        for path in recomputed:
            # MMEngine's is of the reentrant kind: a module whose arguments
            # need no gradient, as the image does not, is not trained at all.
            if self._entrances(model).intersection(
                    model.get_submodule(path).modules()):
                raise ValueError(
                    f'activation_checkpointing names "{path}", which would '
                    'keep what the image enters from being trained, or count '
                    'a batch twice in MWAMNeck: name modules inside the '
                    'branches, such as "backbone.branches.rgb.layer1"')

    def _entrances(self, model: nn.Module) -> Set[nn.Module]:
        """The modules that measure, or that images enter."""
        if self.branches is not None:
            return {
                model.get_submodule(self.inputs.get(name, paths[0]))
                for name, paths in self.branches.items()
            }
        from mwam_mm.models import MultiModalBackbone
        return {
            *self._weighting_necks(model),
            *(branch for m in model.modules()
              if isinstance(m, MultiModalBackbone)
              for branch in m.branches.values())
        }

    def _set_up_optimizers(self, runner, parameters: Parameters) -> None:
        wrappers = [runner.optim_wrapper]
        if isinstance(runner.optim_wrapper, OptimWrapperDict):
            wrappers = list(runner.optim_wrapper.values())
        optimizers = [wrapper.optimizer for wrapper in wrappers]
        if 'update' in self.interventions:
            self._handles += scale_updates(self.mwam, parameters, optimizers)
            if 'gradient' in self.interventions:
                runner.logger.warning(
                    'MWAMHook.intervention has both "gradient" and "update": '
                    'with SGD the branches are scaled by K twice.')
        elif 'gradient' in self.interventions:
            for optimizer in filter(is_adaptive, optimizers):
                runner.logger.warning(
                    f'{type(optimizer).__name__} divides the scale of a '
                    'gradient out again, so intervention="gradient" of '
                    'MWAMHook hardly acts on it: use intervention="update", '
                    'which scales what the optimizer changes.')

    def _attach(self, model: nn.Module) -> Parameters:
        if any(self._weighting_necks(model)):
            raise ValueError(
                'the model has an MWAMNeck with mwam, which weights the '
                'branches already: drop MWAMHook.branches or model.neck.mwam')
        owner: Dict[Tensor, str] = {}
        branch_parameters: Parameters = {}
        for i, (name, paths) in enumerate(self.branches.items()):
            everything = {
                p: None  # a dict keeps the order and drops duplicates
                for path in paths
                for p in self._module(model, path, name, 'branches')
                .parameters()
            }
            if not everything:
                raise ValueError(f'the branch of modality "{name}", {paths}, '
                                 'has no parameter')
            for p in everything:
                if p in owner and p.requires_grad:
                    raise ValueError(
                        f'modalities "{owner[p]}" and "{name}" share a '
                        'parameter: name disjoint modules in '
                        'MWAMHook.branches')
                owner[p] = name
                if 'gradient' in self.interventions:
                    self._handles.append(_hook_gradient(p, self._scale(i)))
            branch_parameters[name] = list(everything)
            path = self.inputs.get(name, paths[0])
            key = 'inputs' if name in self.inputs else 'branches'
            entrance = self._module(model, path, name, key)
            if isinstance(entrance, (nn.ModuleList, nn.ModuleDict)):
                raise ValueError(
                    f'modality "{name}": {path} is a container that is never '
                    'called: name the module that the image enters in '
                    f'MWAMHook.inputs[{name!r}]')
            self._handles.append(
                entrance.register_forward_pre_hook(
                    self._observe(name, path), with_kwargs=True))
        self._handles.append(
            model.register_forward_pre_hook(self._begin_forward))
        self._handles.append(model.register_forward_hook(self._end_forward))
        return branch_parameters

    @staticmethod
    def _module(model: nn.Module, path: str, name: str,
                key: str) -> nn.Module:
        try:
            return model.get_submodule(path)
        except AttributeError as e:
            children = [n for n, _ in model.named_children()]
            raise ValueError(
                f'MWAMHook.{key}: modality "{name}" names "{path}", which is '
                f'no module of {type(model).__name__} ({e}); its children '
                f'are {children}') from None

    def _scale(self, i: int):

        def hook(grad: Tensor) -> Tensor:
            return grad * self.mwam.weights[i].to(grad)

        return hook

    def _observe(self, name: str, path: str):

        def hook(module, args: tuple, kwargs: dict) -> None:
            # Not when activation checkpointing runs the branch again.
            if not self._in_forward:
                return
            arguments = [*args, *kwargs.values()]
            images = [x for x in arguments if _is_image(x)]
            if not images:  # or the only one within dicts and lists
                apply_to(arguments, _is_image, images.append)
            if len(images) != 1:
                raise ValueError(
                    f'modality "{name}": {path} is called with {len(images)} '
                    'tensors of shape (B, C, H, W) where the image of the '
                    'modality should be found: name the module that it '
                    f'enters in MWAMHook.inputs[{name!r}]')
            for other, image in self._entered.items():
                if image is images[0] and other != name:
                    raise ValueError(
                        f'modalities "{other}" and "{name}" enter with the '
                        'same tensor, so their images cannot be told apart: '
                        'name modules that only the one image enters in '
                        'MWAMHook.inputs. In a model without such modules, '
                        'pass each image through an nn.Identity() of its own')
            self._entered[name] = images[0]
            self.mwam.observe(name, images[0])

        return hook

    def _begin_forward(self, model: nn.Module, args: tuple) -> None:
        self._in_forward = model.training and torch.is_grad_enabled()

    def _end_forward(self, model: nn.Module, args: tuple, output) -> None:
        # At the end of the forward, which every rank reaches, so that the
        # all-reduce meets its counterparts before backward starts its own.
        self._entered.clear()
        if self._in_forward:
            self._in_forward = False
            self.mwam.step()
