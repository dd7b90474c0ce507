"""Train a model."""
import argparse
import logging
from typing import Mapping

from mmengine.config import Config
from mmengine.device import get_device
from mmengine.logging import print_log
from mmengine.runner import find_latest_checkpoint

from mwam_mm.cli import (
    add_common_arguments,
    build_runner,
    load_config,
    load_safely,
)
from mwam_mm.config import type_name


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='path of the config')
    parser.add_argument(
        '--resume',
        action='store_true',
        help='continue from the latest checkpoint in the work dir, or from '
        '--cfg-options load_from=CHECKPOINT')
    parser.add_argument(
        '--amp',
        action='store_true',
        help='train with automatic mixed precision')
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help='scale the learning rate with the total batch size, by the '
        "config's auto_scale_lr.base_batch_size")
    add_common_arguments(parser)
    return parser


def enable_amp(cfg: Config) -> None:
    """Turn the optimiser wrapper into the one for mixed precision."""
    wrapper = type_name(cfg.optim_wrapper) or 'OptimWrapper'
    if wrapper == 'AmpOptimWrapper':
        print_log(
            'The config trains with mixed precision already: --amp changes '
            'nothing',
            logger='current',
            level=logging.WARNING)
        return
    if wrapper != 'OptimWrapper':
        raise ValueError('--amp needs optim_wrapper.type=OptimWrapper, but '
                         f'the config has {wrapper}')
    cfg.optim_wrapper.type = 'AmpOptimWrapper'
    cfg.optim_wrapper.loss_scale = 'dynamic'


def enable_auto_scale_lr(cfg: Config) -> None:
    """Let the runner scale the learning rate with the batch size."""
    if 'base_batch_size' not in cfg.get('auto_scale_lr', {}):
        raise ValueError(
            '--auto-scale-lr needs the batch size that the learning rate was '
            'chosen for: auto_scale_lr=dict(base_batch_size=...) in the '
            'config')
    cfg.auto_scale_lr.enable = True


def enable_resume(cfg: Config, options: Mapping) -> None:
    """Let the runner continue what lies in the work dir.

    It would take up the optimizer and the iteration of ``load_from``, which
    of a config is what training starts from.

    Args:
        cfg (Config): Config to change.
        options (Mapping): The settings of the command line: a ``load_from``
            among them is what to continue from.
    """
    cfg.resume = True
    if cfg.get('load_from') is None or 'load_from' in options:
        return
    if find_latest_checkpoint(cfg.work_dir) is None:
        cfg.resume = False
        print_log(
            f'There is no checkpoint in {cfg.work_dir} to resume from: '
            f'training starts, from {cfg.load_from}',
            logger='current',
            level=logging.WARNING)
    else:
        cfg.load_from = None


def check_amp(cfg: Config) -> None:
    """Refuse mixed precision where MMEngine has none."""
    if (type_name(cfg.get('optim_wrapper') or {}) == 'AmpOptimWrapper'
            and get_device() in ('cpu', 'mps')):
        raise ValueError(
            'mixed precision (--amp, or optim_wrapper.type=AmpOptimWrapper) '
            'needs a GPU, but none can be seen: drop --amp, or set '
            'optim_wrapper.type=OptimWrapper')


def apply_args(cfg: Config, args: argparse.Namespace) -> None:
    """Change ``cfg`` as the flags of training say.

    Raises:
        ValueError: If a flag does not fit the config.
    """
    if args.amp:
        enable_amp(cfg)
    if args.auto_scale_lr:
        enable_auto_scale_lr(cfg)
    if args.resume:
        enable_resume(cfg, args.cfg_options or {})


def main() -> None:
    parser = build_parser()
    args = parser.parse_args()
    load_safely()
    cfg = load_config(args)
    try:
        apply_args(cfg, args)
        check_amp(cfg)
    except ValueError as error:
        parser.error(str(error))
    build_runner(cfg).train()


if __name__ == '__main__':
    main()
