"""The settings of a multimodal config, each from those of a stock config."""
import os.path as osp
from typing import Any, Dict, List, Optional

import torch
from mmengine.config import Config
from mmengine.registry import OPTIMIZERS
from torch import nn

from mwam_mm.balance.interventions.distill import predicting_head
from mwam_mm.balance.interventions.gradient import is_adaptive
from mwam_mm.config import (
    leaf_datasets,
    type_name,
    walk_datasets,
    walk_dicts,
    wrapped_datasets,
)
from mwam_mm.datasets.transforms.pipeline import loaded_modalities

from .bases import (
    Pipeline,
    base_pipelines,
    build_model,
    reference,
    scope_of,
)
from .code import Code
from .datasets import (
    annotations_of,
    evaluator_like,
    loading_of,
    main_metric,
    num_classes_of,
)
from .pipeline import multimodal_pipeline, multimodal_transforms
from .sizes import fit_sizes, map_size, size_factor
from .smoke import shrink, shrink_dataset, shrink_evaluator, without_amp

__all__ = ['RECIPES', 'JobSettings']

# What a job trains missing sensors by; the first is recommended.
RECIPES = ('combination', 'dropout', 'gradient')

# What draws the predictions of all combinations.
_VISUALIZERS = dict(
    mmseg='mwam_mm.MultiModalSegVisualizer',
    mmdet='mwam_mm.MultiModalDetVisualizer')
_DROPOUT = dict(
    type='mwam_mm.RandomDropModality', modalities=Code('modalities'))


class JobSettings:
    """The settings of a job, each by a method.

    Args:
        base (Config): The stock config.
        dataset (Config): Config of the dataset.
        modalities (dict[str, dict]): The layout.
        smoke_size (int, optional): Pixels of the images of a smoke test.
    """

    def __init__(self, base: Config, dataset: Config,
                 modalities: Dict[str, dict],
                 smoke_size: Optional[int]) -> None:
        self.base = base
        self.dataset = dataset
        self.modalities = modalities
        self.smoke_size = smoke_size
        train_set = dataset.train_dataloader.dataset.to_dict()
        # K weighs modalities against each other.
        self.weighted = len(modalities) > 1
        self.num_classes = num_classes_of(train_set)
        self.annotations = annotations_of(train_set)
        self.loading = loading_of(train_set)
        self.factor = None if smoke_size else size_factor(
            base_pipelines(base, 'test_dataloader').load.transforms,
            train_set, dict(self.loading, modalities=modalities))

    def model(self) -> dict:
        """The model."""
        model = dict(
            _delete_=True,
            type='mwam_mm.multimodal',
            base=Code('_base_.model'),
            modalities=Code('modalities'),
            num_classes=self.num_classes)
        if self.weighted:
            model['mwam'] = {}
        override = self._override()
        if override:
            model['override'] = override
        return model

    def _override(self) -> Dict[str, Any]:
        """What must change in the base's model."""
        model = self.base.model.to_dict()
        override = {path: None for path in _missing_files(model)}
        preprocessor = model.get('data_preprocessor') or {}
        if self.smoke_size:
            if preprocessor.get('batch_augments'):
                override['data_preprocessor.batch_augments'] = shrink(
                    preprocessor['batch_augments'], self.smoke_size)
            for path, size in (('backbone.img_size',
                                model['backbone'].get('img_size')),
                               ('data_preprocessor.size',
                                preprocessor.get('size'))):
                if size:
                    override[path] = map_size(size,
                                              lambda old: self.smoke_size)
        elif self.factor:
            fitted = fit_sizes(preprocessor, self.factor)
            override.update({
                f'data_preprocessor.{key}': fitted[key]
                for key in ('size', 'batch_augments') if preprocessor.get(key)
            })
        if type_name(preprocessor) == 'SegDataPreProcessor' and not (
                preprocessor.get('size') or preprocessor.get('size_divisor')):
            # A few configs of the zoo forgot it, and would not train.
            print('note: data_preprocessor pads to no size: size_divisor=32')
            override['data_preprocessor.size_divisor'] = 32
        return override

    def hooks(self, recipe: str) -> List[dict]:
        """The base's hooks, and the one that weights the modalities."""
        dropout = recipe == 'dropout'
        hooks = self.base.to_dict().get('custom_hooks') or []
        wrapper = self.dataset.train_dataloader.dataset
        for hook in hooks:
            if 'switch_pipeline' in hook:
                if wrapped_datasets(wrapper):
                    print(f'note: {type_name(hook)} switches the pipeline of '
                          f'no dataset inside {type_name(wrapper)}, which '
                          "train_dataloader has: it stays the base's first")
                transforms = hook['switch_pipeline']
                hook['switch_pipeline'] = self._pipeline(
                    Pipeline(transforms, reference(self.base, transforms)),
                    dropout)
        if not self.weighted:
            return hooks
        weighting: Dict[str, Any] = dict(type='mwam_mm.MWAMHook')
        if recipe == 'combination':
            by_k = [dict(type='combination', weights='k')]
            stock = dict(self.base.model)
            stock.pop('pretrained', None)  # which `multimodal` moves
            if predicting_head(build_model(stock)) is not None:
                by_k.append(dict(type='distill', weights='k'))
            else:
                print('note: "distill" left out of the recipe, since the '
                      'heads give no logits of the same places for all '
                      'combinations')
            weighting['intervention'] = by_k
            return [*hooks, weighting]
        optimizer = self.base.optim_wrapper.to_dict().get('optimizer')
        if optimizer and is_adaptive(
                OPTIMIZERS.build(
                    dict(optimizer, params=[nn.Parameter(torch.zeros(1))]))):
            weighting['intervention'] = 'update'
        return [*hooks, weighting]

    def loader(self, key: str, dropout: bool = False) -> dict:
        """A dataloader: the dataset's samples through the base's pipeline."""
        cfg = self.dataset[key].dataset.to_dict()
        load, mix, mix_args = base_pipelines(self.base, key)
        for wrapper in _wrappers(self.base[key].dataset):
            print(f"note: the {wrapper} around the base's dataset left out: "
                  f'wrap the one of {key} as well if it is to be so')
        if self.smoke_size:
            shrink_dataset(cfg, self.smoke_size)
        # Where images are mixed, the outer pipeline packs the samples.
        pipeline = self._pipeline(load, dropout and not mix)
        for leaf in leaf_datasets(cfg):
            leaf['pipeline'] = pipeline
        if mix is not None:
            multimodal_transforms(mix.transforms, self.modalities)
            cfg = dict(
                type='mwam_mm.MultiModalMixDataset',
                modalities=Code('modalities'),
                dataset=cfg,
                pipeline=self._mix_pipeline(mix, dropout),
                **mix_args)
        loader = dict(dataset=dict(_delete_=True, **cfg))
        if self.smoke_size:
            loader.update(num_workers=0, persistent_workers=False)
            if key == 'train_dataloader':
                loader.update(batch_size=2)
        return loader

    def _pipeline(self, pipeline: Pipeline, dropout: bool) -> List[dict]:
        """A stock pipeline, made multimodal as a whole."""
        transforms, code = pipeline
        # This tells at once if a transform cannot be carried over.
        built = multimodal_pipeline(transforms, self.modalities,
                                    self.annotations, self.loading)
        step = dict(
            type='mwam_mm.multimodal',
            modalities=Code('modalities'),
            transforms=self._with_sizes(transforms, code))
        if self.annotations is not None:
            step['annotations'] = self.annotations
        steps = [step]
        if not loaded_modalities(built):
            # CIFAR's and MNIST's datasets hold the images themselves.
            steps.insert(0, dict(
                type='mwam_mm.LoadModalities',
                modalities=Code('modalities'),
                **self.loading))
        elif self.loading:
            step['loading'] = self.loading
        return [*steps, _DROPOUT] if dropout else steps

    def _with_sizes(self, transforms: List[dict], code: Any) -> Any:
        """A stock pipeline for images of other sizes, else its code."""
        if self.smoke_size:
            return shrink(transforms, self.smoke_size)
        if self.factor:
            return fit_sizes(transforms, self.factor)
        return code

    def _mix_pipeline(self, pipeline: Pipeline, dropout: bool) -> Any:
        """The pipeline of a dataset that mixes images."""
        transforms, code = pipeline
        code = self._with_sizes(transforms, code)
        if not dropout:
            return code
        if isinstance(code, Code):
            return [Code(f'*{code}'), _DROPOUT]
        return [*code, _DROPOUT]

    def evaluation(self, combinations: bool) -> Dict[str, Any]:
        """Dataloaders, evaluators and loops of validation and test."""
        base, dataset = self.base, self.dataset
        settings = {}
        if dataset.test_dataloader == dataset.val_dataloader and (
                base_pipelines(base, 'test_dataloader') == base_pipelines(
                    base, 'val_dataloader')):
            settings['val_dataloader = test_dataloader'] = \
                self.loader('val_dataloader')
        else:
            settings['val_dataloader'] = self.loader('val_dataloader')
            settings['test_dataloader'] = self.loader('test_dataloader')
        for stage in ('val', 'test'):
            key = f'{stage}_evaluator'
            if base.get(key) == dataset[key]:
                continue
            evaluator = evaluator_like(base.get(key), dataset.to_dict()[key])
            if self.smoke_size and isinstance(evaluator, dict):
                shrink_evaluator(
                    evaluator, dataset[f'{stage}_dataloader'].dataset,
                    self.smoke_size)
            settings[key] = evaluator
        if combinations:
            for stage, loop in (('val', 'Val'), ('test', 'Test')):
                settings[f'{stage}_cfg'] = dict(
                    type=f'mwam_mm.MissingModality{loop}Loop')
            visualizer = _VISUALIZERS.get(scope_of(base))
            if visualizer:
                settings['visualizer'] = dict(type=visualizer)
            default_hooks = self._save_best(
                settings.get('val_evaluator', dataset.val_evaluator))
            if default_hooks:
                settings['default_hooks'] = default_hooks
        return settings

    def _save_best(self, evaluator: Any) -> Optional[dict]:
        """Keep the checkpoint whose average over the combinations is best."""
        hooks = self.base.get('default_hooks') or {}
        # MMEngine's own, where the base has none.
        checkpoint = hooks.get('checkpoint',
                               dict(type='CheckpointHook', interval=1))
        if checkpoint is None:
            return None
        change = {} if 'checkpoint' in hooks else checkpoint
        metric = main_metric(evaluator)
        if metric is not None:
            change = dict(change, save_best=f'avg/{metric}', rule='greater')
        elif checkpoint.get('save_best'):
            print(f'note: save_best={checkpoint.save_best} left out, the '
                  'combinations have metrics of their own')
            change = dict(change, save_best=None)
        return dict(checkpoint=change) if change else None

    def optim_wrapper(self) -> Optional[dict]:
        """What must change in the optimizer's config, None for nothing."""
        wrapper = self.base.optim_wrapper.to_dict()
        rules = wrapper.get('paramwise_cfg') or {}
        constructor = wrapper.get('constructor')
        change = {}
        # A key must not match by the name of a branch: "norm" is in "normals".
        branches = ''.join(f'.branches.{name}.' for name in self.modalities)
        if constructor or any('backbone.' in key or key in branches
                              for key in rules.get('custom_keys', {})):
            change['constructor'] = 'mwam_mm.MultiModalOptimWrapperConstructor'
            if constructor:
                change['paramwise_cfg'] = dict(constructor=constructor)
        if self.smoke_size and type_name(wrapper) == 'AmpOptimWrapper':
            wrapper = without_amp(wrapper)
            wrapper['paramwise_cfg'] = dict(rules,
                                            **change.pop('paramwise_cfg', {}))
            return dict(wrapper, **change)
        return change or None


def _wrappers(dataset: dict) -> List[str]:
    """The wrappers of a base's dataset that say how often it is read."""
    return [
        type_name(part) + ''.join(
            f' {key}={value!r}' for key, value in part.items()
            if isinstance(value, (int, float)))
        for part in walk_datasets(dataset)
        if part.get('dataset') and type_name(part) != 'MultiImageMixDataset'
    ]


def _missing_files(model: dict) -> List[str]:
    """Places of pretrained weights that are local files not at hand."""
    missing = []
    for path, cfg in walk_dicts(model):
        init = cfg.get('init_cfg')
        files = dict(
            pretrained=cfg.get('pretrained'),
            init_cfg=init.get('checkpoint') if isinstance(init, dict) else None
        )
        for key, file in files.items():
            if isinstance(file, str) and '://' not in file and not osp.exists(
                    file):
                place = f'{path}.{key}' if path else key
                missing.append(place)
                print(f'note: {place}: {file} is not at hand, training '
                      'starts from scratch')
    return missing
