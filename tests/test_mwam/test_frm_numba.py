"""The compiled loop against the plain path in float64."""
import subprocess
import sys
import threading

import pytest
import torch

from mwam_mm.mwam import frm_numba
from mwam_mm.mwam.frm import METRICS, frm_parts

# high + sigma can cancel
RTOL = dict(ratio=2e-2, robust=1e-4)


def noise(*shape):
    return torch.randn(shape, generator=torch.manual_seed(0))


def parts(x, p=8, q=2, sigma=1e-6, metric='ratio'):
    return frm_numba.partial_sums(x, p, q, sigma, metric).sum(2)


@pytest.mark.parametrize('metric,dtype,p,q', [
    *((metric, torch.float32, 8, 2) for metric in METRICS),
    ('ratio', torch.bfloat16, 8, 2),
    ('robust', torch.float32, 5, 3),
])
def test_equals_plain_path(metric, dtype, p, q):
    x = noise(3, 4, 67, 83)
    x[0, :, :31, 9:50] = 1.37
    x[1, 2] = 0
    x = x.to(dtype)
    for image in (x, x[:, 1:3], x.transpose(0, 1)):
        value = parts(image, p, q, metric=metric)
        expected = frm_parts(image.double(), p, q, metric=metric)
        assert value.dtype == torch.float64
        torch.testing.assert_close(
            value, expected, rtol=RTOL.get(metric, 1e-5), atol=0)
    zeros = parts(torch.zeros_like(x), p, q, metric=metric)
    assert not zeros[0].any()
    for bad in (float('nan'), float('inf')):
        damaged = x.clone()
        damaged[0, 0, 3, 9] = bad
        value = parts(damaged, p, q, metric=metric)
        assert not value[0, 0].isfinite()
        assert torch.equal(value[:, 1:], parts(x[1:], p, q, metric=metric))


def test_flat_patches_are_exact():
    # sigma is less than a sum of 64 such values is sure of in float32.
    for value in (1.37, -0.1, 300.3):
        x = torch.full((1, 1, 8, 8), value)
        dc = 8 * x[0, 0, 0, 0].double().abs().item()
        assert parts(x)[0].item() == pytest.approx(dc / 1e-6, rel=1e-5)
        assert not parts(x, metric='robust').any()


def test_threads_make_no_difference():
    x = noise(2, 3, 72, 96)
    num_threads = torch.get_num_threads()
    values = []
    for n in (1, 2, 5, 100):
        torch.set_num_threads(n)
        values.append(parts(x))
    torch.set_num_threads(num_threads)
    assert all(torch.equal(value, values[0]) for value in values)


def test_parts_run_at_the_same_time_or_one_after_the_other(monkeypatch):
    parties = 1 if frm_numba._parallel_region() is None else 3
    meet = threading.Barrier(parties)
    threads = []

    def run(part):
        meet.wait(60)  # for ever, if fewer threads than parts
        threads.append(threading.get_ident())

    frm_numba._in_parallel(run, range(parties))
    assert len(set(threads)) == parties
    # A PyTorch without such a library has but the one thread.
    monkeypatch.setattr(frm_numba, '_parallel_region', lambda: None)
    seen = []
    frm_numba._in_parallel(seen.append, range(5))
    assert seen == [0, 1, 2, 3, 4]


def test_error_of_a_part_is_raised():

    def run(part):
        if part == 1:
            raise KeyboardInterrupt('pressed Ctrl-C')

    with pytest.raises(KeyboardInterrupt, match='pressed'):
        frm_numba._in_parallel(run, range(3))


def test_frm_uses_it_where_it_pays():
    x = noise(2, 3, 480, 640)
    assert torch.equal(frm_parts(x), parts(x))
    small = x[..., :64, :96].contiguous()
    rtol = 1e-5
    for image, flip in ((small, 'block'), (x[..., :96, :64], 'block'),
                        (x.half(), 'block'), (x, 'map'),
                        (x.to(memory_format=torch.channels_last), 'block')):
        loop = frm_parts(image, metric='sum', flip=flip)
        torch.testing.assert_close(
            loop[0],
            frm_parts(image.double(), metric='sum', flip=flip)[0],
            rtol=rtol,
            atol=0)
    x.requires_grad_()
    frm_parts(x, metric='sum')[0].sum().backward()
    assert x.grad.any()


def test_frm_needs_no_numba():
    code = '''if True:
        import sys
        sys.modules['numba'] = None
        import torch
        from mwam_mm.mwam import frm
        x = torch.randn(2, 3, 480, 640)
        torch.testing.assert_close(
            frm(x, metric='sum').double(), frm(x.double(), metric='sum'))
    '''
    subprocess.run([sys.executable, '-c', code], check=True)
