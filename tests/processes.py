"""Tests of several processes, on CPUs whatever GPUs there are."""
import os
import socket
from unittest import mock

import torch


def unused_port():
    """A TCP port that nothing listens on."""
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


def run_two_ranks(function, *args):
    """Call ``function(rank, *args)`` in two processes that are connected.

    They see no GPU, as there may be fewer GPUs than ranks. What they compare
    with should run on the CPU as well, see the fixture ``on_cpu``.
    """
    environment = dict(
        CUDA_VISIBLE_DEVICES='',  # counts for processes started from now on
        MASTER_ADDR='127.0.0.1',
        MASTER_PORT=str(unused_port()),
        WORLD_SIZE='2')
    with mock.patch.dict(os.environ, environment):
        torch.multiprocessing.spawn(_rank, (function, args), nprocs=2)


def _rank(rank, function, args):
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank))
    torch.set_num_threads(1)
    torch.distributed.init_process_group('gloo')
    function(rank, *args)
    torch.distributed.destroy_process_group()
