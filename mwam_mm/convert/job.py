"""A multimodal config that inherits from any stock config."""
import os.path as osp
from typing import Optional, Sequence

from mmengine.config import Config
from mmengine.registry import init_default_scope

from mwam_mm.atomic import replacing
from mwam_mm.stack import check_scope

from .bases import base_of, build_model, find_base, load_config, scope_of
from .code import format_settings
from .datasets import choose_modalities, load_dataset
from .model import check_base
from .settings import RECIPES, JobSettings
from .smoke import SIZES, SMOKE_SETTINGS, CannotRun, ImageTooSmall, try_model

__all__ = ['compose', 'write_job']

_MARK = ' and MWAM'  # ends the first line of what is written


def write_job(base: str,
              modalities: Sequence[str],
              out: str,
              dataset: Optional[str] = None,
              recipe: str = RECIPES[0],
              combinations: bool = True,
              smoke: bool = False) -> None:
    """Write a multimodal config with MWAM that inherits from a stock one.

    The model is built before the file is written, and for a smoke test it
    runs, so that what cannot be carried over is an error. Notes about what
    is left out are printed.

    Args:
        base (str): Path or zoo name of the stock config, e.g.
            ``'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'``.
        modalities (Sequence[str]): Modalities of the dataset as
            ``NAME:CHANNELS``.
        out (str): Path of the file.
        dataset (str, optional): Config file of a multimodal dataset. Defaults
            to None, the embedded scene set.
        recipe (str): What missing sensors are trained by. ``'combination'``:
            the model's own losses of each modality alone and, where
            ``distill`` knows the logits of the heads, the distance to the
            prediction from all, both weighted by K.
            ``'dropout'``: training samples keep a random subset of their
            modalities, and K acts on the branches' gradients, or updates.
            ``'gradient'``: the latter alone. Defaults to ``'combination'``.
        combinations (bool): Whether validation and test evaluate every
            combination of modalities, and the checkpoint of the best average
            is kept. Defaults to True.
        smoke (bool): Whether to shrink images, data and schedule to one
            iteration and one evaluation. Defaults to False.

    Raises:
        ImportError: If the base is for detection or classification, which
            is not fully installed.
        OSError: If a file cannot be read or written, or ``out`` is a file
            that this function did not write.
        ValueError: If something cannot be carried over.

    Examples:
        >>> write_job('mmseg::fcn/fcn_r18-d8_4xb2-80k_cityscapes-769x769.py',
        ...           ['rgb:3', 'depth:1'], 'my_job.py')  # doctest: +SKIP
    """
    _check_replaced(out)
    stock = load_config(find_base(base))
    detects = scope_of(stock) == 'mmdet'
    check_scope(scope_of(stock))
    data = load_dataset(dataset, stock)
    for evaluate in (True, False) if smoke and detects else (True, ):
        for size in SIZES if smoke else (None, ):
            text = compose(
                base_of(base, out),
                stock,
                data,
                modalities,
                recipe=recipe,
                combinations=combinations,
                smoke_size=size,
                evaluate=evaluate)
            try:
                _write(text, out, size, evaluate)
            except CannotRun as failure:
                error = failure
                if not isinstance(error, ImageTooSmall):
                    break
            else:
                return
        if evaluate and detects:
            print('note: no evaluation, since an untrained model cannot '
                  f'predict here ({error})')
    raise error


def compose(base_name: str,
            base: Config,
            dataset: Config,
            specs: Sequence[str],
            recipe: str = RECIPES[0],
            combinations: bool = True,
            smoke_size: Optional[int] = None,
            evaluate: bool = True) -> str:
    """The text of the multimodal config.

    Args:
        base_name (str): What ``_base_`` is to be.
        base (Config): The stock config.
        dataset (Config): Config of the dataset.
        specs (Sequence[str]): The modalities, as NAME:CHANNELS.
        recipe (str): See :func:`write_job`.
        combinations (bool): See :func:`write_job`.
        smoke_size (int, optional): Pixels of the images of a smoke test.
            Defaults to None, a real job.
        evaluate (bool): Whether to evaluate. Defaults to True.

    Returns:
        str: The text.

    Raises:
        FileNotFoundError: If the annotations that name the dataset's classes
            are missing.
        ValueError: If something cannot be carried over.
    """
    for key in ('model', 'optim_wrapper', 'train_dataloader',
                'val_dataloader', 'test_dataloader'):
        if not base.get(key):
            raise ValueError(f'it has no `{key}`: name the config of a whole '
                             'job, which could be trained')
    if recipe not in RECIPES:
        raise ValueError(f'recipe={recipe!r}, but known are {list(RECIPES)}')
    check_base(base.model)
    init_default_scope(scope_of(base))
    job = JobSettings(base, dataset, choose_modalities(specs, dataset),
                      smoke_size)
    if len(job.modalities) == 1:  # it cannot be left out
        recipe, combinations = 'gradient', False

    settings = dict(
        _base_=base_name,
        modalities=job.modalities,
        model=job.model(),
        custom_hooks=job.hooks(recipe),
        train_dataloader=job.loader('train_dataloader', recipe == 'dropout'))
    if evaluate:
        settings.update(job.evaluation(combinations))
    else:
        settings.update({
            f'{stage}_{key}': None
            for stage in ('val', 'test')
            for key in ('dataloader', 'cfg', 'evaluator')
        })
    optim_wrapper = job.optim_wrapper()
    if optim_wrapper:
        settings['optim_wrapper'] = optim_wrapper
    if base.get('load_from'):
        print(f'note: load_from={base.load_from} left out, it is a checkpoint '
              'of the stock model')
        settings['load_from'] = None
    if smoke_size:
        settings.update(SMOKE_SETTINGS)
    name = osp.splitext(osp.basename(base_name))[0]
    return format_settings(
        settings, f'{name} with {" + ".join(job.modalities)}{_MARK}')


def _check_replaced(path: str) -> None:
    """Check that a file, if there is one, is of :func:`write_job`.

    Raises:
        FileExistsError: If it is not.
    """
    if osp.exists(path):
        with open(path, encoding='utf-8') as f:
            first = f.readline()
        if not (first.startswith('#') and first.rstrip('.\n').endswith(_MARK)):
            raise FileExistsError(
                f'{path} exists and was not written by this command: delete '
                'it, or name another file')


def _write(text: str, path: str, smoke_size: Optional[int],
           evaluate: bool) -> None:
    """Write a config that works, or nothing."""
    with replacing(path) as partial:
        with open(partial, 'w', encoding='utf-8') as f:
            f.write(text)
        _check(partial, smoke_size, evaluate)


def _check(path: str, smoke_size: Optional[int], evaluate: bool) -> None:
    """Build the model of a config and, for a smoke test, run it.

    Raises:
        ValueError: If it cannot be built; the message says why.
        CannotRun: If it cannot run.
    """
    cfg = load_config(path)
    init_default_scope(scope_of(cfg))
    model = build_model(cfg.model)
    if smoke_size is not None:
        try_model(model, cfg, smoke_size, evaluate)
