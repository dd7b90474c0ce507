"""The two kernels of MWAM against the plain path and plain float64.

Without a CUDA device Triton's interpreter runs them, as for
``test_frm_triton.py``.
"""
import copy
import math
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch

from mwam_mm.mwam import MWAM
from mwam_mm.mwam import mwam as core

pytest.importorskip('triton', minversion='3.4')
INTERPRETED = os.environ.get('TRITON_INTERPRET') == '1'
DEVICE = 'cpu' if INTERPRETED else 'cuda'
on_cuda = pytest.mark.skipif(
    'INTERPRETED or not compiles()', reason='needs an Ampere GPU or a later')
on_any = pytest.mark.skipif(
    'not (INTERPRETED or compiles())',
    reason='runs in the interpreter or on an Ampere GPU or a later')
NAMES = 'abcde'
# high + sigma can cancel
RTOL = dict(ratio=2e-2, robust=1e-4)


def compiles():
    """Triton does for Ampere and later devices."""
    return (torch.cuda.is_available()
            and torch.cuda.get_device_capability() >= (8, 0))


def an_array_is_a_number():
    """As the interpreter of Triton 3.6 counts on and NumPy 2.5 denies."""
    try:
        return int(np.zeros(1)) == 0
    except TypeError:
        return False


@pytest.mark.skipif(
    INTERPRETED or torch.cuda.is_available(),
    reason='stands in for a CUDA device')
@pytest.mark.skipif(
    not an_array_is_a_number(), reason='no loops with the installed NumPy')
def test_in_the_interpreter():
    result = subprocess.run(
        [sys.executable, '-m', 'pytest', '-q', '-p', 'no:cacheprovider',
         __file__],
        env=dict(os.environ, TRITON_INTERPRET='1'),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True)
    assert result.returncode == 0, result.stdout
    assert ' passed' in result.stdout


@pytest.fixture(autouse=True)
def launches(monkeypatch):
    """The kernels that were launched, by name."""
    if not (INTERPRETED or compiles()):
        yield []
        return
    from mwam_mm.mwam import frm_triton, mwam_triton
    if INTERPRETED:
        monkeypatch.setattr(core, 'kernels_for', lambda device: mwam_triton)
        monkeypatch.setattr(
            frm_triton, 'takes', lambda x, p, q: x.dtype in frm_triton.DTYPES
            and p in frm_triton.PATCH_SIZES and 0 < len(x))
    else:
        # The first call on a device tries the kernels out.
        core.kernels_for(torch.empty(0, device='cuda').device)
    names = {
        mwam_triton._measure_kernel: 'measure',
        mwam_triton._finish_kernel: 'finish'
    }
    launched = []
    launch = mwam_triton.FusedUpdate._launch

    def record(self, kernel, *args):
        launched.append(names[kernel])
        launch(self, kernel, *args)

    monkeypatch.setattr(mwam_triton.FusedUpdate, '_launch', record)
    yield launched


def fused(num=2, **kwargs):
    mwam = MWAM(NAMES[:num], **kwargs).to(DEVICE)
    assert mwam._fused is not None
    return mwam


def plain(num=2, **kwargs):
    mwam = fused(num, **kwargs)
    mwam._fused = None
    return mwam


def noise(*shape, seed=0):
    # From the host, so that every device gets the same.
    return torch.randn(shape, generator=torch.manual_seed(seed)).to(DEVICE)


def batch(seed=0, num=2, dtype=torch.float32):
    """Of different sizes, and none a multiple of what one program does."""
    shapes = [(3, 3, 40, 56), (3, 1, 24, 32), (2, 2, 9, 8), (1, 1, 16, 200),
              (4, 1, 32, 24)]
    return {
        name: ((i + 1) * noise(*shape, seed=10 * seed + i)).to(dtype)
        for i, (name, shape) in enumerate(zip(NAMES[:num], shapes))
    }


class InFloat64:
    """The procedure in NumPy, image by image and patch by patch."""

    def __init__(self, num=2, p=8, q=2, sigma=1e-6, metric='sum',
                 momentum=.5):
        self.q, self.sigma, self.metric = q, sigma, metric
        self.p, self.momentum = p, momentum
        n = np.arange(p)
        self.dct = np.cos(math.pi * (2 * n + 1) * n[:, None] / (2 * p))
        self.dct *= np.where(n, 2 / p, 1 / p)[:, None]**.5
        self.bank = [None] * num

    def parts(self, image):
        p, q, sigma = self.p, self.q, self.sigma
        above = below = 0.
        for channel in image.double().cpu().numpy():
            for y in range(0, len(channel) - p + 1, p):
                for x in range(0, channel.shape[1] - p + 1, p):
                    patch = channel[y:y + p, x:x + p]
                    spectrum = self.dct @ patch @ self.dct.T
                    low = spectrum[:q, :q]
                    high = spectrum[:-q - 1:-1, :-q - 1:-1]
                    if self.metric == 'ratio':
                        above += abs(low / (high + sigma)).sum()
                    elif self.metric == 'sum':
                        above += abs(low).sum() + abs(high).sum()
                    else:
                        low, high = abs(low).ravel(), abs(high).ravel()
                        if low[1:].sum() + high[1:].sum() <= 1e-5 * low[0]:
                            continue
                        above += low[1:].sum()
                        below += (high[1:] + sigma).sum()
                        continue
                    below += q * q
        return above, below

    def update(self, inputs, present=None):
        """K; inputs may have several images of a modality."""
        for i, name in enumerate(NAMES[:len(self.bank)]):
            x = inputs.get(name, [])
            has_it = (present or {}).get(name) or [s.any() for s in x]
            parts = [self.parts(s) for s, here in zip(x, has_it) if here]
            above, below = (sum(part) for part in zip(*parts)) if parts \
                else (0., 0.)
            if below and math.isfinite(above):
                frm, w = above / below, self.momentum
                self.bank[i] = frm if self.bank[i] is None else \
                    w * self.bank[i] + (1 - w) * frm
        known = [value for value in self.bank if value is not None]
        mean = sum(known) / max(len(known), 1) + self.sigma
        return [
            1. if value is None else
            1.5 - 1 / (1 + math.exp(-6 * (value / mean - .7)))
            for value in self.bank
        ]


def assert_same(mwam, expected, rtol=1e-5):
    torch.testing.assert_close(mwam.weights, expected.weights, rtol=rtol,
                               atol=0)
    torch.testing.assert_close(
        mwam.frm, expected.frm, rtol=rtol, atol=0, equal_nan=True)
    assert torch.equal(mwam.abnormal, expected.abnormal)
    assert mwam.frm.dtype == torch.float64
    assert mwam.weights.dtype == torch.float32
    assert not mwam._observed.any()


@on_any
@pytest.mark.parametrize('dtype',
                         (torch.float32, torch.float16, torch.bfloat16))
@pytest.mark.parametrize('metric', ('ratio', 'robust', 'sum'))
def test_equals_float64(metric, dtype, launches):
    mwam, reference = fused(metric=metric), InFloat64(metric=metric)
    expected = plain(metric=metric)
    for seed in range(2):
        inputs = batch(seed, dtype=dtype)
        inputs['a'][1, :, :21, 9:] = 1.37  # some patches are flat
        del launches[:]
        k = mwam.update(inputs)
        assert launches == ['measure', 'finish']
        expected.update(inputs)
        assert k.tolist() == pytest.approx(
            reference.update(inputs), rel=RTOL.get(metric, 1e-5))
        assert_same(mwam, expected, RTOL.get(metric, 1e-5))
    assert mwam.frm.tolist() == pytest.approx(
        reference.bank, rel=RTOL.get(metric, 1e-5))


@on_any
@pytest.mark.parametrize('num', (1, 2, 3, 4, 5))
def test_any_number_of_modalities(num, launches):
    mwam, reference = fused(num, metric='sum'), InFloat64(num)
    for seed in range(2):
        inputs = batch(seed, num)
        del launches[:]
        k = mwam.update(inputs)
        assert launches == ['measure', 'finish']
        assert k.tolist() == pytest.approx(reference.update(inputs), rel=1e-5)


@on_any
def test_trying_out_sees_wrong_results(launches, monkeypatch):
    from mwam_mm.mwam import mwam_triton
    device = noise(1).device
    mwam_triton.try_out(device)
    # The second time what Triton compiled is launched.
    assert launches == 2 * ['measure', 'finish']
    monkeypatch.setattr(mwam_triton.FusedUpdate, 'step', lambda *args: None)
    with pytest.raises(RuntimeError, match='instead of 2 and 4'):
        mwam_triton.try_out(device)


@on_any
def test_more_modalities_than_one_launch_takes(launches):
    names = [f'm{i}' for i in range(7)]
    mwam = MWAM(names, metric='sum').to(DEVICE)
    expected = MWAM(names, metric='sum').to(DEVICE)
    expected._fused = None
    inputs = {name: noise(1, 1, 8, 8, seed=i)
              for i, name in enumerate(names)}
    mwam.update(inputs)
    assert launches == 7 * ['measure'] + ['finish']
    expected.update(inputs)
    assert_same(mwam, expected)


@on_any
@pytest.mark.parametrize('p,q', [(2, 2), (4, 3), (8, 4), (16, 2), (32, 1)])
def test_patches_and_bands(p, q, launches):
    mwam = fused(patch_size=p, block_size=q, metric='sum')
    inputs = dict(a=noise(2, 2, 33, 70), b=noise(1, 1, 45, 32))
    k = mwam.update(inputs)
    assert launches == ['measure', 'finish']
    reference = InFloat64(p=p, q=q)
    assert k.tolist() == pytest.approx(reference.update(inputs), rel=1e-5)


@on_any
def test_strides(launches):
    stack = noise(2, 5, 16, 40)
    views = [
        dict(a=stack[:, :3], b=stack[:, 3:4]),
        dict(a=stack[:, 1:4], b=stack[:, 4:]),
        {name: x.contiguous(memory_format=torch.channels_last)
         for name, x in dict(a=stack[:, :3], b=stack[:, 3:]).items()},
        dict(a=stack.transpose(2, 3), b=stack[:, ::2]),
        dict(a=stack[:1, :1].expand(3, 2, -1, -1), b=stack[::2, :, 3:, 1:]),
        dict(a=stack[..., ::2], b=stack[:, :, 8:, 8:]),
        # from a pixel that is no multiple of 16 bytes
        dict(a=stack.flatten()[3:3 + 640].view(1, 1, 16, 40), b=stack),
    ]
    for inputs in views:
        del launches[:]
        mwam, reference = fused(metric='sum'), InFloat64()
        before = {name: x.clone() for name, x in inputs.items()}
        k = mwam.update(inputs)
        assert launches == ['measure', 'finish']
        assert k.tolist() == pytest.approx(reference.update(inputs), rel=1e-5)
        for name, x in inputs.items():
            assert torch.equal(x, before[name])


@on_any
def test_absent_samples(launches):
    mwam, reference = fused(metric='sum'), InFloat64()
    expected = plain(metric='sum')
    for seed, present in enumerate([
            dict(a=[True, False, True]),
            dict(a=[False, False, True], b=(True, True, False)),
            dict(b=torch.tensor([False, True, False])),
            dict(a=[False] * 3),
            dict(a=[True] * 3, b=[True] * 3),
    ]):
        inputs = batch(seed)
        for name, has_it in present.items():
            # Nothing of an absent sample counts, whatever it holds.
            for i, here in enumerate(has_it):
                if not here:
                    inputs[name][i] = float('nan')
        del launches[:]
        k = mwam.update(inputs, present)
        assert launches == ['measure', 'finish']
        expected.update(inputs, present)
        assert_same(mwam, expected)
        present = {name: list(map(bool, p)) for name, p in present.items()}
        assert k.tolist() == pytest.approx(
            reference.update(
                {n: x for n, x in inputs.items()
                 if any(present.get(n, [True]))}, present), rel=1e-5)
    assert not mwam.abnormal.any()


@on_any
def test_zeros_are_absent_unless_known(launches):
    inputs = batch()
    inputs['a'][1] = 0
    blank, known = fused(metric='sum'), fused(metric='sum')
    blank.update(inputs)
    known.update(inputs, dict(a=[True] * 3))
    assert known.frm[0].item() == pytest.approx(
        2 / 3 * blank.frm[0].item(), rel=1e-6)


@on_any
@pytest.mark.parametrize('size', (3, 5, 7, 10, 12, 13, 14))
def test_many_samples(size, launches, monkeypatch):
    from mwam_mm.mwam import mwam_triton
    monkeypatch.setattr(mwam_triton, '_BITS', 3)
    mwam, expected = fused(metric='sum'), plain(metric='sum')
    inputs = dict(a=noise(size, 1, 8, 8), b=noise(2, 1, 16, 8))
    present = dict(a=[i % 3 != 0 for i in range(size - 1)] + [False])
    mwam.update(inputs, present)
    expected.update(inputs, present)
    assert_same(mwam, expected)
    # Of 13 samples 12 can be told; a then goes the plain way, b by itself.
    assert launches == ['measure', 'finish']
    mwam.update(inputs)
    expected.update(inputs)
    assert_same(mwam, expected)


@on_cuda
@pytest.mark.parametrize('size', (31, 62, 124, 125, 300))
def test_very_many_samples(size):
    mwam, expected = fused(metric='sum'), plain(metric='sum')
    inputs = dict(a=noise(size, 1, 8, 8), b=noise(2, 1, 16, 8))
    present = dict(a=[i % 3 != 0 for i in range(size - 1)] + [False])
    mwam.update(inputs, present)
    expected.update(inputs, present)
    assert_same(mwam, expected)


@on_any
def test_more_than_is_added_up_at_once(launches, monkeypatch):
    from mwam_mm.mwam import mwam_triton
    monkeypatch.setattr(mwam_triton, '_ROWS', 2)
    monkeypatch.setattr(mwam_triton, '_COLUMNS', 2)
    inputs = dict(a=noise(1, 3, 64, 80), b=noise(4, 1, 8, 8))
    mwam, expected = fused(metric='sum'), plain(metric='sum')
    mwam.update(inputs)
    expected.update(inputs)
    assert launches == ['measure', 'finish']
    assert_same(mwam, expected)


@on_any
def test_several_images_of_a_modality(launches):
    mwam, reference = fused(metric='sum'), InFloat64()
    for seed in range(2):
        del launches[:]
        images = [noise(2, 1, 16, 24, seed=seed), noise(2, 1, 16, 24, seed=7)]
        other = noise(1, 3, 8, 40, seed=seed)
        mwam.observe([('a', images[0], None)])
        images[0] *= 1.  # observed is observed
        expected = torch.cat(images)
        images[0].zero_()
        mwam.observe([('b', other, None)])
        mwam.observe([('a', images[1], [True, True])])
        k = mwam.step()
        assert launches == 3 * ['measure'] + ['finish']
        assert k.tolist() == pytest.approx(
            reference.update(dict(a=expected, b=other)), rel=1e-5)


@on_any
@pytest.mark.parametrize('bad', (float('nan'), float('inf'), -float('inf')))
@pytest.mark.parametrize('metric', ('ratio', 'robust', 'sum'))
def test_bad_numbers(metric, bad):
    mwam, expected = fused(metric=metric), plain(metric=metric)
    for seed in range(3):
        inputs = batch(seed)
        if seed == 1:
            inputs['b'][1, 0, 3, 9] = bad
            bank = mwam.frm
        mwam.update(inputs)
        expected.update(inputs)
        assert_same(mwam, expected, RTOL.get(metric, 1e-5))
        if seed == 1:
            assert mwam.frm[1] == bank[1] and mwam.frm[0] != bank[0]
    assert mwam.abnormal.tolist() == [False, True]


@on_any
def test_what_the_kernels_do_not_take(launches):
    """It goes the plain way, and joins what the kernels measure."""
    mixed = batch()
    mixed['b'] = mixed['b'].bfloat16()
    doubles = dict(batch(), b=batch()['b'].double())
    empty = dict(batch(), a=noise(0, 3, 16, 16))
    for inputs, measured in ((mixed, 2), (doubles, 1), (empty, 1)):
        del launches[:]
        mwam, expected = fused(metric='sum'), plain(metric='sum')
        mwam.update(inputs)
        expected.update(inputs)
        assert launches == measured * ['measure'] + ['finish']
        assert_same(mwam, expected)
    del launches[:]
    mwam = fused(flip='map', metric='sum')
    expected = plain(flip='map', metric='sum')
    mwam.update(batch())
    expected.update(batch())
    assert launches == ['finish']
    assert_same(mwam, expected)
    assert MWAM(NAMES, preset='reference').to(DEVICE)._fused is None
    with pytest.raises(ValueError, match='one patch'):
        fused().update(dict(a=noise(1, 1, 7, 9)))
    with pytest.raises(ValueError, match='shape'):
        fused().update(dict(a=noise(1, 8, 9)))


@on_any
def test_a_modality_that_comes_late():
    mwam, expected = fused(3, metric='sum'), plain(3, metric='sum')
    for seed in range(3):
        inputs = batch(seed, 3 if seed == 2 else 2)
        k = mwam.update(inputs)
        expected.update(inputs)
        assert_same(mwam, expected)
        assert (k[2] == 1) == (seed < 2)
    assert torch.equal(fused().update({}), torch.ones(2, device=DEVICE))


@on_any
def test_constants():
    given = dict(metric='sum', momentum=.9, alpha=2., beta=1.5, lam=4.,
                 gamma=1.1, sigma=.5)
    mwam, expected = fused(**given), plain(**given)
    for seed in range(3):
        mwam.update(batch(seed))
        expected.update(batch(seed))
        assert_same(mwam, expected)


@on_any
def test_interval(launches):
    mwam = fused(metric='sum', interval=3)
    weights = [mwam.update(batch(seed)) for seed in range(4)]
    assert launches == ['measure', 'finish'] * 2
    assert torch.equal(weights[0], weights[2])
    assert not torch.equal(weights[2], weights[3])


@on_any
def test_weights_and_state_are_not_changed_afterwards():
    mwam = fused(metric='sum')
    k = mwam.update(batch(0))
    values = k.tolist()
    state = mwam.state_dict()
    bank = state['bank']['values'].tolist()
    copies = [copy.deepcopy(mwam), pickle.loads(pickle.dumps(mwam)), fused(
        metric='sum')]
    copies[-1].load_state_dict(state)
    mwam.update(batch(1))
    assert k.tolist() == values
    assert state['bank']['values'].tolist() == bank
    for other in copies:
        assert other._fused is not None
        assert other.frm.tolist() == bank
        assert torch.equal(other.update(batch(1)), mwam.weights)
        assert torch.equal(other.frm, mwam.frm)
    assert not torch.equal(copies[0].bank.values, state['bank']['values'])


@on_any
def test_a_batch_of_all_ranks(monkeypatch, launches):
    """One all-reduce of 2M numbers, of sums and counts."""
    reduced = []

    def all_reduce(tensor):  # the other rank has the same batch, twice
        reduced.append(tensor.clone())
        tensor *= 3

    dist = torch.distributed
    mwam, expected = fused(metric='sum'), plain(metric='sum')
    expected.update(batch())
    monkeypatch.setattr(dist, 'is_initialized', lambda: True)
    monkeypatch.setattr(dist, 'all_reduce', all_reduce)
    mwam.update(batch())
    assert launches == ['measure', 'finish', 'finish']
    assert [x.shape for x in reduced] == [(2, 1, 2)]  # of one band
    assert reduced[0][1, 0].tolist() == [3 * 3 * 5 * 7 * 4, 3 * 3 * 4 * 4]
    assert_same(mwam, expected)
    mwam.update(batch(1))
    assert not torch.equal(reduced[0], reduced[1])


@on_any
def test_moving_between_the_modalities():
    mwam, expected = fused(metric='sum'), plain(metric='sum')
    inputs = batch()
    mwam.observe([('a', inputs['a'], None)])
    mwam.to(DEVICE)  # any device
    mwam.observe([('b', inputs['b'], None)])
    mwam.step()
    expected.update(inputs)
    assert_same(mwam, expected)


@on_cuda
def test_nothing_waits():
    mwam = fused()
    inputs = dict(a=noise(8, 4, 480, 640)[:, :3], b=noise(8, 1, 480, 640))
    present = dict(b=[True] * 7 + [False])
    mwam.update(inputs, present)
    mwam.observe([('a', inputs['a'], None)])
    mwam.step()
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode('error')
    try:
        for size in (480, 472):  # another size needs another table
            smaller = {name: x[..., :size] for name, x in inputs.items()}
            mwam.update(smaller, present)
            for name, x in smaller.items():
                mwam.observe([(name, x, present.get(name))])
            k = mwam.step()
    finally:
        torch.cuda.set_sync_debug_mode('default')
    assert k.is_cuda and k.isfinite().all()


@on_cuda
def test_presence_on_the_device():
    mwam, expected = fused(metric='sum'), fused(metric='sum')
    inputs, present = batch(), [True, False, True]
    on_device = torch.tensor(present, device='cuda')
    torch.cuda.set_sync_debug_mode('error')
    try:
        mwam.update(inputs, dict(a=on_device))
    finally:
        torch.cuda.set_sync_debug_mode('default')
    expected.update(inputs, dict(a=present))
    assert_same(mwam, expected)


@on_cuda
@pytest.mark.parametrize('dtype', (torch.float32, torch.bfloat16))
def test_agrees_with_the_cpu(dtype):
    mwam, expected = fused(metric='sum'), MWAM(NAMES[:2], metric='sum')
    for seed in range(3):
        inputs = dict(
            a=noise(8, 3, 480, 640, seed=seed).to(dtype),
            b=noise(8, 1, 480, 640, seed=seed + 9).to(dtype).cumsum(3))
        k = mwam.update(inputs)
        on_cpu = {name: x.cpu() for name, x in inputs.items()}
        torch.testing.assert_close(
            k.cpu(), expected.update(on_cpu), rtol=1e-5, atol=0)
    # The order of the sums is fixed.
    again = [fused(metric='sum').update(inputs) for _ in range(2)]
    assert torch.equal(*again)


@on_cuda
def test_memory_and_graph():
    """No copies of the inputs, and all of it can be captured."""
    mwam, expected = fused(metric='sum'), fused(metric='sum')
    inputs = dict(a=noise(8, 3, 480, 640), b=noise(8, 1, 480, 640))
    for _ in range(3):
        mwam.update(inputs)
        expected.update(inputs)
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    mwam.update(inputs)
    expected.update(inputs)
    assert torch.cuda.max_memory_allocated() - before < 2**16
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        k = mwam.update(inputs)
    inputs['a'].mul_(2)
    graph.replay()
    assert torch.equal(k, expected.update(inputs))
