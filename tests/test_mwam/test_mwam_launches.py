"""How much MWAM launches on a device with kernels, which are stand-ins."""
import sys
from types import ModuleType

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import mwam_mm.mwam
from mwam_mm.mwam import MWAM, frm
from mwam_mm.mwam import mwam as core

NAMES = 'abcdef'


class Compiled:
    """What a launch gives: notes its own launches."""

    def __init__(self, name):
        self.name = name

    def __getitem__(self, grid):
        assert len(grid) == 3
        return lambda *args: self.launch(args)

    def launch(self, args):
        Kernel.launched.append(self.name)
        Kernel.called.append((self, args))


class Kernel:
    """Notes its launches and computes nothing."""
    launched = []
    called = []

    def __init__(self, function):
        self.name = function.__name__

    def __getitem__(self, grid):

        def launch(*args, **kwargs):
            compiled = Compiled(self.name)
            compiled.launch(args)
            return compiled

        return launch


class Operators(TorchDispatchMode):
    """Notes the operators that are called."""

    def __init__(self):
        super().__init__()
        self.called = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.called.append(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


@pytest.fixture(autouse=True)
def kernels(monkeypatch):
    """Import the modules anew, with a stand-in for Triton."""

    def jit(function=None, **kwargs):
        return Kernel if function is None else Kernel(function)

    triton, language = ModuleType('triton'), ModuleType('triton.language')
    triton.__version__ = '3.2.0'
    triton.jit, triton.language = jit, language
    triton.next_power_of_2 = lambda n: 1 << (n - 1).bit_length()
    language.constexpr = None
    for name in ('frm_triton', 'mwam_triton'):
        # What was there comes back at the end.
        full_name = f'mwam_mm.mwam.{name}'
        monkeypatch.setitem(sys.modules, full_name, None)
        monkeypatch.setattr(mwam_mm.mwam, name, None, raising=False)
        del sys.modules[full_name]
        delattr(mwam_mm.mwam, name)
    with monkeypatch.context() as context:  # PyTorch must not meet it
        context.setitem(sys.modules, 'triton', triton)
        context.setitem(sys.modules, 'triton.language', language)
        from mwam_mm.mwam import frm_triton, mwam_triton
    monkeypatch.setattr(frm_triton, 'takes', lambda x, p, q: len(x) > 0)
    monkeypatch.setattr(core, 'kernels_for', lambda device: mwam_triton)
    monkeypatch.setattr(Kernel, 'launched', [])
    monkeypatch.setattr(Kernel, 'called', [])


def measured(num=2, **kwargs):
    """MWAM that has met the sizes of :func:`batch`."""
    mwam = MWAM(NAMES[:num], **kwargs).to('cpu')
    mwam.update(batch(num))
    Kernel.launched.clear()
    return mwam


def batch(num=2):
    return {
        name: torch.zeros(2, 3 if name == 'a' else 1, 16, 24)
        for name in NAMES[:num]
    }


@pytest.mark.parametrize('num', (1, 2, 3, 4, 5))
def test_an_update_is_two_launches(num):
    mwam = measured(num)
    presents = (None, dict(a=[True, False]), dict(a=[False, False]),
                {name: (True, True) for name in NAMES[:num]})
    for present in presents:
        inputs = batch(num)
        mwam.update(inputs, present)  # whether it is known is in the table
        Kernel.launched.clear()
        with Operators() as operators:
            k = mwam.update(inputs, present)
        assert Kernel.launched == ['_measure_kernel', '_finish_kernel']
        # Only K is new: nothing is copied, moved or computed beside.
        assert operators.called == ['empty_like']
        assert k.shape == (num, )


def test_compiled_kernels_are_found_once_for_each_alignment(monkeypatch):
    from mwam_mm.mwam import mwam_triton
    mwam = measured()
    (measure, first), (finish, _) = Kernel.called

    def launched_by(offset):
        Kernel.called.clear()
        rgb, depth = batch().values()
        storage = torch.zeros(rgb.numel() + 16)
        # The first multiple of 16 bytes, and from there on.
        start = -storage.data_ptr() % 16 // 4 + offset
        mwam.update(dict(
            a=storage[start:start + rgb.numel()].view_as(rgb), b=depth))
        return Kernel.called

    (aligned, args), (ended, _) = launched_by(0)
    assert (aligned, ended) == (measure, finish)
    # As Triton itself was called, but for the tensors.
    assert [x for x in args if not torch.is_tensor(x)
            ] == [x for x in first if not torch.is_tensor(x)]
    shifted, ended = (compiled for compiled, _ in launched_by(1))
    assert shifted is not measure and ended is finish
    assert launched_by(2)[0][0] is shifted
    # Before, what is compiled took no constants.
    monkeypatch.setattr(mwam_triton, '_CAN_KEEP', False)
    mwam = MWAM(NAMES[:2]).to('cpu')
    assert launched_by(0)[0][0] is not launched_by(0)[0][0]


def test_frm_is_one_kernel_one_sum_and_the_quotient(monkeypatch):
    from mwam_mm.mwam import frm_triton
    monkeypatch.setattr(sys.modules['mwam_mm.mwam.frm'], 'loop_for',
                        lambda device: frm_triton)
    x = torch.zeros(2, 3, 16, 24)
    frm(x)  # the rows of the DCT are kept
    Kernel.launched.clear()
    with Operators() as operators:
        frm(x)
    assert Kernel.launched == ['_frm_kernel']
    free = ('promote_types', 'unbind', 'select', 'alias', 'detach')
    assert [name for name in operators.called if name not in free
            ] == ['new_empty', 'sum', 'div', '_to_copy']


def test_observing_is_a_launch_each():
    mwam, inputs = measured(), batch()
    for name in 'aba':
        mwam.observe([(name, inputs[name], None)])
    mwam.step()
    assert Kernel.launched == 3 * ['_measure_kernel'] + ['_finish_kernel']


def test_batches_between_two_measurements_launch_nothing():
    mwam, inputs = measured(interval=3), batch()
    with Operators() as operators:
        mwam.update(inputs)
        mwam.update(inputs)
    assert not Kernel.launched and not operators.called
    mwam.update(batch())
    assert len(Kernel.launched) == 2


def test_ranks_meet_once_between_the_kernels(monkeypatch):
    mwam = measured()
    monkeypatch.setattr(torch.distributed, 'is_initialized', lambda: True)
    monkeypatch.setattr(
        torch.distributed, 'all_reduce',
        lambda x: Kernel.launched.append(x.numel()))
    mwam.update(batch())
    assert Kernel.launched == [
        '_measure_kernel', '_finish_kernel', 4, '_finish_kernel'
    ]


def test_tables_are_kept_but_not_without_end(monkeypatch):
    from mwam_mm.mwam import mwam_triton
    monkeypatch.setattr(mwam_triton, '_MAX_PLANS', 3)
    mwam = measured()
    for size in range(8, 20):
        mwam.update(dict(a=torch.zeros(1, 1, size, 8)))
        assert len(mwam._fused._plans) <= 3
    assert Kernel.launched == 12 * ['_measure_kernel', '_finish_kernel']


def test_images_of_a_subclass_go_the_plain_way():

    class Image(torch.Tensor):
        pass

    mwam = measured()
    mwam.update(dict(a=torch.zeros(1, 1, 8, 8).as_subclass(Image)))
    assert Kernel.launched == ['_finish_kernel']
