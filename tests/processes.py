"""Tests of several processes, on CPUs unless they ask for GPUs."""
import os
import socket
from datetime import timedelta
from unittest import mock

import torch


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
    if device == 'cpu':  # counts for processes started from now on
        environment['CUDA_VISIBLE_DEVICES'] = ''
    with mock.patch.dict(os.environ, environment):
        torch.multiprocessing.spawn(
            _rank, (function, args, device), nprocs=size)


def _rank(rank, function, args, device):
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank))
    torch.set_num_threads(1)
    if device == 'cpu':
        # A rank that waits in vain is an error after this time.
        torch.distributed.init_process_group(
            'gloo', timeout=timedelta(minutes=5))
    function(rank, *args)
    torch.distributed.destroy_process_group()
