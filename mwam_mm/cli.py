"""What the command-line tools share: common flags, config, runner."""
import os
import os.path as osp
from argparse import ArgumentParser, Namespace
from typing import Optional

from mwam_mm.stack import check_scope, check_stack

check_stack()

import numpy as np
import torch
from mmengine.config import Config, DictAction
from mmengine.device import get_device
from mmengine.logging import HistoryBuffer
from mmengine.registry import RUNNERS
from mmengine.runner import Runner, find_latest_checkpoint
from mmengine.utils import digit_version

from mwam_mm.checkpoint import check_whole
from mwam_mm.config import type_name
from mwam_mm.engine.hooks import draw_what_is_loaded
from mwam_mm.inheritance import follow_modalities
from mwam_mm.type_names import check_type_names
from mwam_mm.visualization import give_portable_names

__all__ = [
    'add_cfg_options', 'add_common_arguments', 'build_runner', 'load_config',
    'load_safely', 'read_config'
]


def add_cfg_options(parser: ArgumentParser) -> None:
    """Add ``--cfg-options``, for :func:`read_config`.

    Args:
        parser (ArgumentParser): Parser of a tool.
    """
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='settings that override those of the config, e.g. '
        'train_cfg.max_epochs=10 or model.neck.in_channels="[64,128]" '
        '(quoted, without white space)')


def add_common_arguments(parser: ArgumentParser) -> None:
    """Add the flags that training and testing have in common."""
    parser.add_argument(
        '--work-dir',
        help='directory for logs, checkpoints and results; by default the '
        "config's work_dir, else ./work_dirs/<config name>")
    add_cfg_options(parser)
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='what started the processes of a distributed job')
    # torch.distributed.launch passes the first or the second spelling,
    # depending on the version of PyTorch; torchrun sets LOCAL_RANK itself
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)


def read_config(path: str, cfg_options: Optional[dict] = None) -> Config:
    """Read a config file.

    Args:
        path (str): The file.
        cfg_options (dict, optional): Settings that override its own. Defaults
            to None.

    Returns:
        Config: The config. All of its parts have its ``modalities``.

    Raises:
        ImportError: If it is for detection or classification, which is not
            fully installed.
        ValueError: If it names a class of this package without its prefix, or
            misspelt; see :func:`check_type_names`.
    """
    cfg = Config.fromfile(path)
    check_scope(cfg.get('default_scope'))
    if cfg_options is not None:
        cfg.merge_from_dict(cfg_options)
    check_type_names(cfg)
    follow_modalities(cfg)
    return cfg


def load_config(args: Namespace) -> Config:
    """Load the config that the common flags describe.

    Args:
        args (Namespace): Parsed arguments: ``config`` and the flags of
            :func:`add_common_arguments`.

    Returns:
        Config: The config with ``--cfg-options`` merged in and ``launcher``
        and ``work_dir`` set. All of its parts have its ``modalities``.

    Raises:
        ImportError: If it is for detection or classification, which is not
            fully installed.
    """
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    cfg = read_config(
        args.config, {
            'launcher': args.launcher,
            **(args.cfg_options or {})
        })
    if args.work_dir is not None:
        cfg.work_dir = args.work_dir
    elif cfg.get('work_dir') is None:
        name = osp.splitext(osp.basename(args.config))[0]
        cfg.work_dir = osp.join('./work_dirs', name)
    return cfg


def load_safely() -> None:
    """Let no checkpoint that this process loads run code of its own.

    A checkpoint is a pickle, which may do anything when it is read. PyTorch
    from 2.6 on can be held to tensors, plain values and the classes it is
    told of, here those that MMEngine's checkpoints hold besides; a file with
    others is an error. ``TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1`` in the
    environment says that the files are trusted.
    """
    if (digit_version(torch.__version__) < digit_version('2.6.0')
            or os.environ.get('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', '').lower()
            in ('1', 'y', 'yes', 'true')):  # what PyTorch takes for true
        return
    array = np.zeros(1).__reduce__()[0]
    scalar = np.float64(0).__reduce__()[0]
    torch.serialization.add_safe_globals([
        HistoryBuffer, np.ndarray, np.dtype,
        *(type(np.dtype(name)) for name in ('bool', 'u1', 'i4', 'i8', 'u4',
                                            'f4', 'f8')),
        *((function, f'numpy.{core}.multiarray.{function.__name__}')
          for function in (array, scalar)
          for core in ('core', '_core'))  # NumPy 1 and 2
    ])
    os.environ['TORCH_FORCE_WEIGHTS_ONLY_LOAD'] = '1'


def _distribute_on_cpu(cfg: Config) -> None:
    """Start the distributed job where there is no GPU.

    MMEngine sets the current CUDA device whatever the backend, unless the
    processes are connected already, and gives DistributedDataParallel a
    device number, unless the config does.
    """
    if cfg.launcher != 'pytorch':
        raise ValueError(f'--launcher {cfg.launcher} needs GPUs, but there is '
                         'none: on CPUs use --launcher pytorch, as '
                         'tools/dist_train.sh does')
    torch.distributed.init_process_group('gloo')
    wrapper = dict(cfg.get('model_wrapper_cfg') or {})
    if type_name(wrapper) in ('', 'MMDistributedDataParallel'):
        # the last two are what MMEngine gives where a config says nothing
        cfg.model_wrapper_cfg = {
            'device_ids': None,
            'broadcast_buffers': False,
            'find_unused_parameters': cfg.get('find_unused_parameters', False),
            **wrapper
        }


def _check_gpu() -> None:
    """Check that this process has a GPU of its own.

    MMEngine takes the one whose place among the visible GPUs is the local
    rank, and does not look how many there are.
    """
    rank = int(os.environ.get('LOCAL_RANK', 0))
    count = torch.cuda.device_count()
    if rank >= count:
        visible = os.environ.get('CUDA_VISIBLE_DEVICES')
        raise ValueError(
            f'process {rank} of this machine (LOCAL_RANK={rank}, counted from '
            f'0) has no GPU of its own, because {count} can be seen'
            + ('' if visible is None else
               f' with CUDA_VISIBLE_DEVICES={visible}')
            + f': start at most {count} processes a machine, as '
            f'tools/dist_train.sh CONFIG {count} does, or make more GPUs '
            'visible. CUDA_VISIBLE_DEVICES= (empty) runs the job on CPUs')


def build_runner(cfg: Config) -> Runner:
    """Build the runner, of ``runner_type`` where the config names one.

    A distributed job on CPUs uses the gloo backend. Data and model are
    compared when the run starts, see :class:`DataCheckHook`. Pictures of
    predictions are drawn on what a multimodal pipeline has loaded.

    Args:
        cfg (Config): The config, as :func:`load_config` gives it.

    Returns:
        Runner: The runner.

    Raises:
        ValueError: If this process has no GPU of its own, on CPUs its
            launcher needs GPUs, or the checkpoint to start from is cut off or
            not named.
    """
    checkpoint = cfg.get('load_from')
    if checkpoint is None and cfg.get('resume'):
        checkpoint = find_latest_checkpoint(cfg.work_dir)
        if checkpoint == '':
            raise ValueError(
                f'{osp.join(cfg.work_dir, "last_checkpoint")} is empty, where '
                'the path of the checkpoint to resume from should be: write '
                'it there, or give it by --cfg-options load_from=CHECKPOINT')
    if checkpoint is not None:
        check_whole(str(checkpoint))
    device = get_device()
    if cfg.get('launcher', 'none') != 'none' and device == 'cpu':
        _distribute_on_cpu(cfg)
    if device == 'cuda':
        _check_gpu()
    cfg.default_hooks = {
        'data_check': dict(type='mwam_mm.DataCheckHook'),
        **(cfg.get('default_hooks') or {})
    }
    if 'runner_type' in cfg:
        runner = RUNNERS.build(cfg)
    else:
        runner = Runner.from_cfg(cfg)
    if isinstance(runner, Runner):
        draw_what_is_loaded(runner)
        give_portable_names(runner.visualizer)
    return runner
