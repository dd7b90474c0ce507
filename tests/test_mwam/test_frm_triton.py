"""The kernel against the plain path.

Without a CUDA device Triton's interpreter runs it, which must be chosen
before Triton is imported: another process runs the tests of this file then.
"""
import os
import subprocess
import sys

import pytest
import torch

from mwam_mm.mwam.frm import METRICS, frm_parts

# The interpreters of older versions are incomplete.
pytest.importorskip('triton', minversion='3.4')
INTERPRETED = os.environ.get('TRITON_INTERPRET') == '1'
DEVICE = 'cpu' if INTERPRETED else 'cuda'
on_cuda = pytest.mark.skipif(
    'INTERPRETED or not compiles()', reason='needs an Ampere GPU or a later')
on_any = pytest.mark.skipif(
    'not (INTERPRETED or compiles())',
    reason='runs in the interpreter or on an Ampere GPU or a later')
# high + sigma can cancel
RTOL = dict(ratio=2e-2, robust=1e-4)


def compiles():
    """Triton does for Ampere and later devices."""
    return (torch.cuda.is_available()
            and torch.cuda.get_device_capability() >= (8, 0))


@pytest.mark.skipif(
    INTERPRETED or torch.cuda.is_available(),
    reason='stands in for a CUDA device')
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


def test_package_does_not_import_triton():
    code = ("import sys; sys.modules['triton'] = None; import mwam_mm.mwam; "
            "assert 'mwam_mm.mwam.frm_triton' not in sys.modules")
    subprocess.run([sys.executable, '-c', code], check=True)


def parts(x, p=8, q=2, sigma=1e-6, metric='ratio'):
    from mwam_mm.mwam import frm_triton
    return frm_triton.partial_sums(x, p, q, sigma, metric).sum(2)


def assert_equals_plain_path(x, p=8, q=2, sigma=1e-6, metric='ratio'):
    value = parts(x, p, q, sigma, metric)
    expected = frm_parts(x.double(), p, q, sigma, metric)
    assert value.dtype == torch.float64 and value.device == x.device
    torch.testing.assert_close(
        value, expected, rtol=RTOL.get(metric, 1e-5), atol=0)
    if metric != 'robust':
        assert torch.equal(value[1], expected[1])


def noise(*shape):
    # From the host, so that every device gets the same.
    return torch.randn(shape, generator=torch.manual_seed(0)).to(DEVICE)


@on_any
@pytest.mark.parametrize('dtype',
                         (torch.float32, torch.float16, torch.bfloat16))
@pytest.mark.parametrize('metric', METRICS)
def test_dtypes(metric, dtype):
    # more patches than one program has, not a multiple, and some of them flat
    x = noise(2, 3, 40, 56).to(dtype)
    x[1, :, :21, 9:] = 1.37
    assert_equals_plain_path(x, metric=metric)


@on_any
@pytest.mark.parametrize('metric', ('ratio', 'robust', 'sum'))
@pytest.mark.parametrize('shape,p,q', [((1, 2, 6, 5), 2, 2),
                                       ((2, 1, 18, 23), 4, 3),
                                       ((1, 1, 37, 29), 8, 4),
                                       ((2, 2, 33, 47), 16, 2),
                                       ((1, 1, 32, 64), 32, 2)])
def test_sizes(shape, p, q, metric):
    assert_equals_plain_path(noise(*shape), p, q, metric=metric)


@on_any
@pytest.mark.parametrize('metric', ('ratio', 'low', 'sum', 'weighted_sum'))
def test_block_of_dc_only(metric):
    assert_equals_plain_path(noise(2, 2, 16, 24), 8, 1, metric=metric)


@on_any
@pytest.mark.parametrize('metric', ('ratio', 'robust'))
def test_sigma(metric):
    assert_equals_plain_path(noise(2, 1, 16, 24), sigma=0.5, metric=metric)


def assert_same_sum(x, y):
    # Strides decide which thread adds what, hence the rounding.
    torch.testing.assert_close(
        parts(x, metric='sum'), parts(y, metric='sum'), rtol=1e-5, atol=0)


@on_any
def test_strides():
    stack = noise(2, 4, 16, 32)
    images = stack[:, 1:3]
    assert not images.is_contiguous()
    for x in (images, images.contiguous(memory_format=torch.channels_last),
              images.transpose(2, 3).contiguous().transpose(2, 3),
              images.transpose(0, 1).contiguous().transpose(0, 1)):
        assert_same_sum(x, images.contiguous())
    repeated = stack[:1].expand(3, -1, -1, -1)
    assert_same_sum(repeated, repeated.contiguous())


@on_any
def test_incomplete_border_is_left_out():
    x = noise(1, 2, 16, 24)
    padded = torch.full((1, 2, 23, 30), float('nan'), device=DEVICE)
    padded[..., :16, :24] = x
    assert_same_sum(padded, x)


@on_any
@pytest.mark.parametrize('metric', METRICS)
def test_zeros_have_exactly_nothing(metric):
    value = parts(torch.zeros(2, 1, 16, 16, device=DEVICE), metric=metric)
    assert not value[0].any()
    assert value[1].tolist() == [0. if metric == 'robust' else 16.] * 2


@on_any
def test_flat_patches_are_exact():
    # sigma is less than a sum of 64 such values is sure of in float32.
    for value in (1.37, -0.1, 300.3):
        x = torch.full((1, 1, 8, 8), value, device=DEVICE)
        dc = 8 * x[0, 0, 0, 0].double().abs().item()
        assert parts(x)[0].item() == pytest.approx(dc / 1e-6, rel=1e-5)
        assert not parts(x, metric='robust').any()


@on_any
@pytest.mark.parametrize('bad', (float('nan'), float('inf'), -float('inf')))
@pytest.mark.parametrize('metric', METRICS)
def test_bad_numbers_are_seen_in_their_sample(metric, bad):
    x = noise(2, 1, 16, 24)
    x[0, 0, 3, 9] = bad
    value = parts(x, metric=metric)
    assert not value[0, 0].isfinite()
    assert torch.equal(value[:, 1:], parts(x[1:], metric=metric))


@on_any
def test_nothing_depends_on_the_rest_of_the_batch():
    x = noise(3, 2, 72, 64)
    for metric in ('ratio', 'robust'):
        alone = [parts(sample[None], metric=metric) for sample in x]
        assert torch.equal(parts(x, metric=metric), torch.cat(alone, 1))


@pytest.mark.skipif(
    INTERPRETED or not torch.cuda.is_available(), reason='needs a CUDA device')
def test_what_it_takes():
    from mwam_mm.mwam.frm_triton import takes
    x = torch.zeros(1, 1, 16, 16, device='cuda')
    assert takes(x, 8, 2) == compiles()
    assert not takes(x.cpu(), 8, 2)
    assert not takes(x.double(), 8, 2)
    assert not takes(x, 5, 2)
    assert not takes(x, 8, 5)


@on_cuda
def test_frm_uses_it():
    x = noise(2, 3, 64, 96)
    assert torch.equal(frm_parts(x), parts(x))


@on_cuda
@pytest.mark.parametrize('metric', METRICS)
def test_large_input_without_waiting(metric):
    x = noise(8, 4, 480, 640)[:, 1:]
    expected = frm_parts(x.double(), metric=metric)
    parts(x, metric=metric)
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    torch.cuda.set_sync_debug_mode('error')
    try:
        value = parts(x, metric=metric)
    finally:
        torch.cuda.set_sync_debug_mode('default')
    assert torch.cuda.max_memory_allocated() - before < 2e-2 * x.nbytes
    # Of so many positions some cancel almost completely: in float32 the plain
    # path is as far away.
    rtol = 0.1 if metric == 'ratio' else RTOL.get(metric, 1e-5)
    torch.testing.assert_close(value, expected, rtol=rtol, atol=0)
    assert torch.equal(value, parts(x, metric=metric))
