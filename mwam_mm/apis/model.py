"""A trained model from its config and checkpoint."""
import copy
import logging
from pathlib import Path
from typing import Any, Dict, Mapping, Optional, Union

from mmengine.config import Config
from mmengine.device import get_device
from mmengine.logging import print_log
from mmengine.registry import init_default_scope
from mmengine.runner import CheckpointLoader
from torch import nn

from mwam_mm.checkpoint import check_whole, weights_of
from mwam_mm.config import (
    class_of,
    first_metainfo,
    leaf_datasets,
    type_name,
    walk_dicts,
)
from mwam_mm.inheritance import follow_modalities
from mwam_mm.registry import DATASETS, MODELS
from mwam_mm.stack import check_scope

__all__ = ['init_model']

_LOADERS = ('test_dataloader', 'val_dataloader', 'train_dataloader')


def init_model(config: Union[str, Path, Config],
               checkpoint: Optional[str] = None,
               device: Optional[str] = None,
               cfg_options: Optional[dict] = None) -> nn.Module:
    """Build a model and load its weights, for segmentation or detection.

    What ``init_model`` of MMSegmentation and ``init_detector`` of
    MMDetection do, also for a config whose model is ``mwam_mm.multimodal``.

    Args:
        config (str | Path | Config): The config or its file, such as the one
            that a training leaves in its work dir.
        checkpoint (str, optional): Path of the checkpoint. Defaults to None,
            random weights.
        device (str, optional): Where to put the model. Defaults to None, the
            GPU if there is one.
        cfg_options (dict, optional): Settings that override those of the
            config, as ``--cfg-options`` does. Defaults to None.

    Returns:
        nn.Module: The model in evaluation mode, with the config as ``cfg``
        and the classes and colours, of the checkpoint or else of the config's
        dataset, as ``dataset_meta``.

    Raises:
        TypeError: If ``config`` is none of the three.
        ValueError: If the checkpoint is cut off, holds no weights or lacks
            some of the model.

    Examples:
        >>> from mwam_mm.apis import init_model
        >>> model = init_model('my_job.py', 'iter_8000.pth')  # doctest: +SKIP
    """
    if isinstance(config, (str, Path)):
        cfg = Config.fromfile(config)
    elif isinstance(config, Config):
        cfg = copy.deepcopy(config)
    else:
        raise TypeError('config must be a Config or the path of one, but got '
                        f'{type(config).__name__}')
    if cfg_options is not None:
        cfg.merge_from_dict(cfg_options)
    follow_modalities(cfg)
    scope = cfg.get('default_scope') or 'mmseg'
    check_scope(scope)
    init_default_scope(scope)

    settings = copy.deepcopy(cfg.model)
    if cfg.get('data_preprocessor') is not None:  # as the runner does
        settings.setdefault('data_preprocessor', cfg.data_preprocessor)
    if checkpoint is not None:
        # The checkpoint has all weights, so the files of pretrained ones need
        # not exist here.
        for _, part in walk_dicts(settings):
            if isinstance(part.get('pretrained'), str):
                part['pretrained'] = None
            if type_name(part.get('init_cfg') or {}) == 'Pretrained':
                part['init_cfg'] = None
    model = MODELS.build(settings)
    meta: Mapping = {}
    if checkpoint is not None:
        meta = _load_weights(model, str(checkpoint))
    model.dataset_meta = _dataset_meta(meta, cfg)
    model.cfg = cfg
    return model.to(device or get_device()).eval()


def _load_weights(model: nn.Module, path: str) -> Mapping:
    """Load a checkpoint's weights, all of them; return its meta."""
    check_whole(path)
    loaded = CheckpointLoader.load_checkpoint(path, map_location='cpu')
    weights = weights_of(loaded, path)
    try:
        missing, unused = model.load_state_dict(weights, strict=False)
    except RuntimeError as error:  # another shape
        raise ValueError(
            f'{path} is not a checkpoint of this config: {error}') from error
    missing = [name for name in missing if 'num_batches_tracked' not in name]
    if missing:
        raise ValueError(
            f'{path} is not a checkpoint of this config: it lacks '
            f'{len(missing)} of the weights of the {type(model).__name__}, '
            f'such as {missing[0]}')
    if unused:
        print_log(
            f'{path} has {len(unused)} weights that the model does not have, '
            f'such as {unused[0]}: they are left out', 'current',
            logging.WARNING)
    return loaded.get('meta') or {}


def _dataset_meta(meta: Mapping, cfg: Config) -> Dict[str, Any]:
    """Classes and palette of the checkpoint, else of the config's dataset."""
    found = first_metainfo(meta.get('dataset_meta'))
    found = {key.lower(): value for key, value in found.items()}
    if found.get('classes'):
        return found
    for loader in _LOADERS:
        for dataset in leaf_datasets((cfg.get(loader) or {}).get('dataset')
                                     or []):
            cls = class_of(dataset, DATASETS)
            found = {
                **(getattr(cls, 'METAINFO', None) or {}),
                **(dataset.get('metainfo') or {})
            }
            if found.get('classes'):
                return found
    return {}
