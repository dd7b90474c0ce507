"""Parts a and f: the cost of FRM itself."""
import math
from typing import List

import numpy as np
import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from mwam_mm.mwam import MWAM, frm

from .measuring import (
    Result,
    Setting,
    alternate,
    alternate_kernels,
    alternate_on_device,
    compare,
    synchronise,
)

SHAPES = ((8, 3, 480, 640), (64, 3, 112, 112), (2, 4, 1024, 1024))


def full_dct(x: Tensor) -> Tensor:
    """Orthonormal DCT-II of the last dimension, by an FFT of its length."""
    n = x.size(-1)
    order = torch.cat([x[..., ::2], x[..., 1::2].flip(-1)], -1)
    k = torch.arange(n, device=x.device) * math.pi / (2 * n)
    spectrum = torch.fft.fft(order)
    y = 2 * (spectrum.real * k.cos() + spectrum.imag * k.sin())
    scale = torch.full((n, ), math.sqrt(1 / (2 * n)), device=x.device)
    scale[0] = math.sqrt(1 / (4 * n))
    return y * scale


def published(x: Tensor, p: int = 8, q: int = 2, sigma: float = 1e-6):
    """FRM as published: all coefficients, bands gathered by masks."""
    x = x.float()
    b, c, h, w = x.shape
    x = x.unfold(2, p, p).unfold(3, p, p).reshape(-1, p, p)
    x = full_dct(full_dct(x).transpose(1, 2)).transpose(1, 2)
    low = torch.zeros(p, p, dtype=torch.bool, device=x.device)
    low[:q, :q] = True
    masks = low.expand_as(x), low.flip(0, 1).expand_as(x)
    low, high = (x[mask].view(-1, q, q) for mask in masks)
    return (low / (high.flip(1, 2) + sigma)).abs().mean()


def peak_memory(x: Tensor) -> float:
    """Peak of what FRM allocates, as a share of the input."""
    frm(x)
    if x.is_cuda:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        frm(x)
        return (torch.cuda.max_memory_allocated() - before) / x.nbytes
    with profile(
            activities=[ProfilerActivity.CPU], profile_memory=True) as prof:
        frm(x)
    events = [
        e for e in prof.profiler.kineto_results.events()
        if e.name() == '[memory]'
    ]
    # In microseconds before PyTorch 2.3; the sort is stable.
    events.sort(key=lambda e: e.start_ns()
                if hasattr(e, 'start_ns') else e.start_us())
    sizes = [e.nbytes() for e in events]
    return max(np.cumsum(sizes), default=0) / x.nbytes


def run_a(setting: Setting) -> List[Result]:
    """FRM against one read of its input and the published procedure."""
    results = []
    shapes = ((2, 3, 64, 64), ) if setting.tiny else SHAPES
    for shape in shapes:
        for dtype in (torch.float32, torch.bfloat16):
            x = torch.randn(shape, device=setting.device).to(dtype)
            name = f'{shape} {str(dtype)[6:]}'
            functions = dict(frm=lambda: frm(x), sum=lambda: x.sum())
            on_cuda = setting.device == 'cuda'
            if on_cuda:
                # Not on a CPU, where it would take the image out of the
                # cache before one of the others only.
                functions['copy'] = x.clone
                seconds = alternate_on_device(functions, setting)
            else:
                seconds = alternate(functions, setting)
            main = shape == SHAPES[0]
            results.append(
                compare('a', f'frm / sum, {name}', seconds['frm'],
                        seconds['sum'],
                        at_most=4 if main and not on_cuda else None))
            if on_cuda:
                results.append(
                    compare('a', f'frm / copy, on the device, {name}',
                            seconds['frm'], seconds['copy'],
                            at_most=2 if main else None))
            share = peak_memory(x)
            results.append(
                Result('a', f'extra memory / input, {name}', share, share,
                       share, at_most=0.3))
            if setting.quick and not main:
                continue
            functions = dict(
                frm=lambda: frm(x), published=lambda: published(x))
            repeats = 5 if setting.quick else None
            if on_cuda:
                # Its masks wait for the device, so no graph can hold it.
                seconds = alternate_kernels(functions, setting, repeats)
            else:
                seconds = alternate(functions, setting, repeats, warm_up=1)
            results.append(
                compare('a', f'published / frm, {name}', seconds['published'],
                        seconds['frm'], at_least=15 if main else None))
    if setting.device == 'cuda':
        for dtype in (torch.float32, torch.bfloat16):
            results += cost_of_update(dtype, setting)
    return results


def cost_of_update(dtype: torch.dtype, setting: Setting) -> List[Result]:
    """``MWAM.update`` on a CUDA device: milliseconds a call, launches
    included, and what the device does against one read of the inputs."""
    batch, size = (2, (64, 64)) if setting.tiny else (8, (480, 640))
    inputs = {
        name: torch.randn(batch, channels, *size, device='cuda').to(dtype)
        for name, channels in (('rgb', 3), ('depth', 1))
    }
    mwam = MWAM(list(inputs))
    name = ', '.join(f'{k} {tuple(x.shape)}' for k, x in inputs.items())
    name = f'MWAM.update of {name} {str(dtype)[6:]}'
    calls = 1000
    series = []
    for i in range(1 + (5 if setting.quick else setting.repeats)):
        synchronise(setting)
        start = setting.clock()
        for _ in range(calls):
            mwam.update(inputs)
        synchronise(setting)
        series.append(1e3 * (setting.clock() - start) / calls)
    low, median, high = np.percentile(series[1:], [25, 50, 75])
    seconds = alternate_on_device(
        dict(
            update=lambda: mwam.update(inputs),
            read=lambda: [x.sum() for x in inputs.values()]), setting)
    return [
        Result('a', f'{name}, milliseconds', float(median), float(low),
               float(high), at_most=0.1),
        compare('a', f'{name} / sum, on the device', seconds['update'],
                seconds['read'], at_most=1.5),
    ]


def run_f(setting: Setting) -> List[Result]:
    """Growth: seconds for eight times the work, over eight times those."""
    # Large enough for the compiled loop, which small images go without.
    base, times = ((1, 3, 64, 64), 2) if setting.tiny else ((2, 3, 480, 480),
                                                            8)
    b, c, h, w = base
    side = 2 if setting.tiny else 4
    image = torch.randn(base, device=setting.device)
    small = MWAM(['m0'])

    def modalities(inputs: dict) -> tuple:
        return MWAM(list(inputs)), inputs

    cases = {
        'pixels': modalities(
            dict(m0=torch.randn(
                b, c, h * side, w * times // side, device=setting.device))),
        'batch': modalities(
            dict(m0=torch.randn(b * times, c, h, w, device=setting.device))),
        'M': modalities({f'm{i}': image for i in range(times)}),
    }
    results = []
    for name, (mwam, inputs) in cases.items():
        seconds = alternate(
            dict(
                large=lambda m=mwam, i=inputs: m.update(i),
                small=lambda: small.update(dict(m0=image))), setting)
        results.append(
            compare('f', f'{times} times the {name}, cost per element',
                    seconds['large'] / times, seconds['small'],
                    at_most=1.25))
    return results
