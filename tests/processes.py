"""Tests of several processes, on CPUs unless they ask for GPUs."""
import multiprocessing
import os
import runpy
import socket
import subprocess
import sys
import tempfile
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from unittest import mock

import torch

# Ranks on CPUs and scripts are forked from one process that has imported
# these, which would take each of them seconds.
multiprocessing.set_forkserver_preload(
    ['torch', 'mmseg.models', 'mmdet.models', 'mwam_mm'])


def unused_port():
    """A TCP port that nothing listens on."""
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


def run_ranks(function, *args, size=2, device='cpu'):
    """Call ``function(rank, *args)`` in processes of one distributed job.

    On CPUs they are connected and see no GPU, as there may be fewer GPUs than
    ranks. What they compare with should run on the CPU as well, see the
    fixture ``on_cpu``. On GPUs the Runner connects them.
    """
    environment = dict(
        MASTER_ADDR='127.0.0.1',
        MASTER_PORT=str(unused_port()),
        WORLD_SIZE=str(size))
    with _hidden_gpus() if device == 'cpu' else nullcontext():
        torch.multiprocessing.start_processes(
            _rank, (function, args, device, environment),
            nprocs=size,
            start_method='forkserver' if device == 'cpu' else 'spawn')


def _hidden_gpus():
    """Processes started in this context see no GPU.

    The one that the others are forked from must not either: it imports
    MMEngine, which then remembers whether there is one.
    """
    return mock.patch.dict(os.environ, CUDA_VISIBLE_DEVICES='')


def _rank(rank, function, args, device, environment):
    os.environ.update(environment, RANK=str(rank), LOCAL_RANK=str(rank))
    torch.set_num_threads(1)
    if device == 'cpu':
        # A rank that waits in vain is an error after this time.
        torch.distributed.init_process_group(
            'gloo', timeout=timedelta(minutes=5))
    function(rank, *args)
    if device != 'cpu':  # PyTorch 2.1 may hang when it takes down gloo's
        torch.distributed.destroy_process_group()


def run_script(*args, cwd, **environment):
    """``python *args`` on the CPU, without the time that imports take.

    Returns:
        subprocess.CompletedProcess: With ``stdout`` and ``stderr`` as text.
    """
    args = list(map(str, args))
    with _hidden_gpus(), tempfile.TemporaryDirectory() as folder:
        environment = dict(os.environ, OMP_NUM_THREADS='1', **environment)
        outputs = [Path(folder, name) for name in ('stdout', 'stderr')]
        process = multiprocessing.get_context('forkserver').Process(
            target=_script, args=(args, cwd, environment, outputs))
        process.start()
        process.join()
        return subprocess.CompletedProcess(
            args, process.exitcode, *(file.read_text() for file in outputs))


def _script(args, cwd, environment, outputs):
    os.environ.clear()
    os.environ.update(environment)
    torch.set_num_threads(1)
    os.chdir(cwd)
    # At the level of the system, as what is started from here writes as well.
    for descriptor, file in enumerate(outputs, start=1):
        with open(file, 'w') as opened:
            os.dup2(opened.fileno(), descriptor)
    sys.stdout, sys.stderr = (
        open(descriptor, 'w', buffering=1, closefd=False)
        for descriptor in (1, 2))
    sys.argv = args
    sys.path.insert(0, str(Path(args[0]).resolve().parent))
    runpy.run_path(args[0], run_name='__main__')
