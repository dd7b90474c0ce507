"""A job shrunk to one iteration and one evaluation, for a quick test."""
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.structures import InstanceData
from torch import nn

from mwam_mm.config import leaf_datasets, walk_dicts

from .bases import scope_of
from .sizes import is_scenes, map_sizes

__all__ = [
    'CannotRun', 'ImageTooSmall', 'SIZES', 'SMOKE_SETTINGS', 'shrink',
    'shrink_dataset', 'shrink_evaluator', 'try_model', 'without_amp'
]

# Pixels of the images; the first size that the model can take is used.
SIZES = (64, 128, 256, 512)
# What of the schedule is replaced.
SMOKE_SETTINGS = dict(
    param_scheduler=[],
    train_cfg=dict(
        _delete_=True,
        type='IterBasedTrainLoop',
        max_iters=1,
        val_interval=1),
    default_hooks=dict(
        logger=dict(type='LoggerHook', interval=1), checkpoint=None))


class CannotRun(ValueError):
    """The model cannot run a smoke test."""


class ImageTooSmall(CannotRun):
    """The images of the smoke test may be too small for the model."""


def shrink(cfg: Any, size: int) -> Any:
    """Set all image sizes within a pipeline's config.

    Args:
        cfg (Any): The config, or a part of it. It is not changed.
        size (int): Height and width in pixels.

    Returns:
        Any: The changed config.
    """
    cfg = map_sizes(cfg, lambda key, old: size)
    for _, part in walk_dicts(cfg):
        if 'scales' in part:
            part['scales'] = part['scales'][:1]
        if 'max_cached_images' in part:
            part['max_cached_images'] = 5
    return cfg


def shrink_dataset(cfg: dict, size: int) -> None:
    """Leave a dataset a handful of samples.

    Args:
        cfg (dict): Config of the dataset, changed in place.
        size (int): Height and width of the embedded scenes in pixels. Images
            of other datasets keep their size.
    """
    for leaf in leaf_datasets(cfg):
        if is_scenes(leaf):
            leaf.update(
                data_root=_scenes_root(size),
                scene_cfg=dict(
                    height=size, width=size, splits=dict(train=4, val=2)))
        else:
            leaf['indices'] = 2


def shrink_evaluator(evaluator: dict, dataset: dict, size: int) -> None:
    """Have an evaluator read the annotations of the shrunk dataset.

    Args:
        evaluator (dict): Config of the evaluator, changed in place.
        dataset (dict): Config of the dataset, which is not shrunk yet.
        size (int): See :func:`shrink_dataset`.
    """
    leaf = next(leaf_datasets(dataset))
    if evaluator.get('ann_file') and is_scenes(leaf):
        evaluator['ann_file'] = evaluator['ann_file'].replace(
            leaf['data_root'], _scenes_root(size))


def without_amp(optim_wrapper: dict) -> dict:
    """An optimizer wrapper that does not need a GPU.

    Args:
        optim_wrapper (dict): Config of an ``AmpOptimWrapper``.

    Returns:
        dict: Config of the plain ``OptimWrapper``, which replaces it.
    """
    kept = {
        key: value
        for key, value in optim_wrapper.items()
        if key not in ('loss_scale', 'dtype', 'use_fp16')
    }
    return dict(kept, _delete_=True, type='OptimWrapper')


def try_model(model: nn.Module, cfg: Config, size: int,
              evaluate: bool) -> None:
    """Run a model on images of the size.

    Args:
        model (nn.Module): The model of the config.
        cfg (Config): Config of the job.
        size (int): Height and width in pixels.
        evaluate (bool): Whether to predict; else the losses are computed.

    Raises:
        CannotRun: If the model lacks something to run here.
        ImageTooSmall: If it fails for another reason.
    """
    # Deep models with the weights that their layers start with let the
    # features grow without bound.
    logger = MMLogger.get_current_instance()
    logger.setLevel('WARNING')  # it would list every parameter
    model.init_weights()
    channels = model.data_preprocessor.layout.num_channels
    images = torch.randn(2, channels, size, size)
    samples = None
    if scope_of(cfg) == 'mmdet':
        samples = [_det_sample(size) for _ in images]
    elif scope_of(cfg) == 'mmpretrain':
        samples = [_cls_sample() for _ in images]
    try:
        if evaluate:
            with torch.no_grad():
                model.eval()(images[:1], samples and samples[:1], 'predict')
        else:
            model.train()(images, samples, 'loss')
    except ImportError as error:
        raise CannotRun(f'the model cannot run: {error}') from error
    except Exception as error:
        if 'implementation for device' in str(error):
            raise CannotRun('the model cannot run here, it needs a GPU: '
                            f'{error}') from error
        raise ImageTooSmall(f'the model fails on an image of {size}x{size} '
                            f'pixels: {error}') from error


def _scenes_root(size: int) -> str:
    return f'data/scenes_{size}'


def _cls_sample() -> Any:
    """A sample for a classifier."""
    from mmpretrain.structures import DataSample
    return DataSample().set_gt_label(0)


def _det_sample(size: int) -> Any:
    """A sample for a detector, with one object."""
    from mmdet.structures import DetDataSample
    from mmdet.structures.mask import BitmapMasks
    shape = (size, size)
    return DetDataSample(
        metainfo=dict(
            img_id=0,
            ori_shape=shape,
            img_shape=shape,
            pad_shape=shape,
            batch_input_shape=shape,
            scale_factor=(1., 1.),
            border=(0, size, 0, size)),
        gt_instances=InstanceData(
            bboxes=torch.tensor([[0., 0., size / 2, size / 2]]),
            labels=torch.tensor([0]),
            masks=BitmapMasks(
                np.ones((1, size, size), np.uint8), size, size)),
        ignored_instances=InstanceData(bboxes=torch.zeros(0, 4)))
