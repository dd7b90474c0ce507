"""Tests of several processes, on CPUs unless they ask for GPUs."""
import multiprocessing
import os
import socket
from datetime import timedelta
from unittest import mock

import torch

# Ranks on CPUs are forked from one process that has imported these, which
# would take each of them seconds.
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
    hidden = dict(CUDA_VISIBLE_DEVICES='') if device == 'cpu' else {}
    # counts for processes started from now on
    with mock.patch.dict(os.environ, hidden):
        torch.multiprocessing.start_processes(
            _rank, (function, args, device, environment),
            nprocs=size,
            start_method='forkserver' if device == 'cpu' else 'spawn')


def _rank(rank, function, args, device, environment):
    os.environ.update(environment, RANK=str(rank), LOCAL_RANK=str(rank))
    torch.set_num_threads(1)
    if device == 'cpu':
        # A rank that waits in vain is an error after this time.
        torch.distributed.init_process_group(
            'gloo', timeout=timedelta(minutes=5))
    function(rank, *args)
    torch.distributed.destroy_process_group()
