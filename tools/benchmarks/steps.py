"""Parts b and c: one training iteration and inference."""
from typing import Any, List

import numpy as np
import torch
from mmengine.logging import print_log
from mmengine.optim import OptimWrapper
from mmengine.registry import init_default_scope
from torch import Tensor, nn

from mwam_mm.layout import with_presence
from mwam_mm.mwam import scale_gradient

from .measuring import Result, Setting, alternate, compare, synchronise
from .models import (
    build,
    first_batch,
    flagships,
    mwam_neck,
    plain_two_stream,
    random_batch,
    two_stream_fcn,
)


def iterations(part: str, name: str, model: nn.Module, batch: dict,
               at_most: float, setting: Setting,
               repeats: int) -> List[Result]:
    """One iteration with MWAM against one without, in the same model.

    The difference of two iterations drowns in their spread where it is a
    hundredth, so the target is held against the seconds that are spent in
    the module: measuring and weights. On a CUDA device their quartile is held
    against it as well. What the scaling of the gradients takes stands beside.
    """
    model.train()
    neck = mwam_neck(model)
    mwam = neck.mwam
    optimizer = OptimWrapper(
        torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9))
    spent: List[float] = []
    update = mwam.update

    def timed(*args, **kwargs):
        synchronise(setting)
        start = setting.clock()
        weights = update(*args, **kwargs)
        synchronise(setting)
        spent.append(setting.clock() - start)
        return weights

    def step(with_mwam: bool) -> None:
        neck.mwam = mwam if with_mwam else None
        model.train_step(batch, optimizer)

    seconds = alternate(
        dict(on=lambda: step(True), off=lambda: step(False)),
        setting, repeats, warm_up=1)
    mwam.update = timed
    for _ in range(max(3, repeats // 4)):
        step(True)
    del mwam.update
    neck.mwam = mwam
    off = np.median(seconds['off'])
    shares = 1 + np.array(spent[1:]) / off
    low, median, high = np.percentile(shares, [25, 50, 75])
    return [
        Result(part, f'iteration with the time in MWAM / without, {name}',
               float(median), float(low), float(high), at_most=at_most,
               details=dict(mwam_ms=1e3 * float(np.median(spent[1:])),
                            iteration_ms=1e3 * float(off))),
        compare(part, f'iteration on / off, {name}', seconds['on'],
                seconds['off'],
                at_most=at_most if setting.device == 'cuda' else None,
                within_spread=True),
        scaling(part, name, model, batch, float(off), setting, repeats),
    ]


def scaling(part: str, name: str, model: nn.Module, batch: dict, off: float,
            setting: Setting, repeats: int) -> Result:
    """An iteration with the time that scaling the gradients takes / without.

    The features are those of the batch; the gradient goes through the scaling
    and back against through a view and back.
    """
    found: List[Tensor] = []
    handle = mwam_neck(model).register_forward_pre_hook(
        lambda module, args: found.extend(tensors(args[0].features)))
    with torch.no_grad():
        model(**model.data_preprocessor(batch, True), mode='loss')
    handle.remove()
    features = [x.detach().requires_grad_() for x in found]
    gradients = [torch.ones_like(x) for x in features]
    k = torch.ones((), device=features[0].device)

    def run(function) -> None:
        torch.autograd.grad([function(x) for x in features], features,
                            gradients)

    seconds = alternate(
        dict(
            scaled=lambda: run(lambda x: scale_gradient(x, k)),
            plain=lambda: run(lambda x: x.view_as(x))), setting,
        max(repeats, 10))
    shares = 1 + (seconds['scaled'] - seconds['plain']) / off
    low, median, high = np.percentile(shares, [25, 50, 75])
    return Result(
        part, f'iteration with the time of scaling / without, {name}',
        float(median), float(low), float(high),
        details=dict(scaling_ms=1e3 * off * float(median - 1)))


def tensors(nested: Any) -> List[Tensor]:
    """All tensors within dicts, lists and tuples."""
    if isinstance(nested, Tensor):
        return [nested]
    if isinstance(nested, dict):
        nested = list(nested.values())
    if isinstance(nested, (list, tuple)):
        return [x for part in nested for x in tensors(part)]
    return []


def run_b(setting: Setting) -> List[Result]:
    """Training iterations with MWAM and without."""
    if setting.tiny:
        return iterations('b', 'ResNet-18, 32x32',
                          build(two_stream_fcn(18, base_channels=8),
                                setting.device), random_batch(2, (32, 32)),
                          1.01, setting, setting.repeats)
    # A GPU is fast enough for the whole batch.
    few = setting.quick and setting.device == 'cpu'
    size, num_samples = (480, 640), 1 if few else 2
    results = iterations(
        'b', f'ResNet-50 FCN, {num_samples} x 480x640',
        build(two_stream_fcn(), setting.device),
        random_batch(num_samples, size), 1.01, setting,
        3 if few else setting.repeats)
    for name, cfg in flagships().items():
        try:
            init_default_scope(cfg.default_scope)
            model = build(cfg.model, setting.device)
        except (ImportError, KeyError) as error:
            print_log(f'{name} left out: {error}', 'current')
            continue
        results += iterations('b', name, model, first_batch(cfg), 1.03,
                              setting,
                              5 if few else setting.repeats)
        if setting.quick:
            break
    return results


def run_c(setting: Setting) -> List[Result]:
    """Inference against the same modules without any class of ours."""
    if setting.tiny:
        host, size = two_stream_fcn(18, base_channels=8), (32, 32)
    else:
        host, size = two_stream_fcn(), (480, 640)
    model = build(host, setting.device).eval()
    plain = plain_two_stream(model)
    # As the data preprocessor hands it on.
    x = with_presence(
        torch.randn(1, 4, *size, device=setting.device),
        {name: [True] for name in model.backbone.layout})
    with torch.no_grad():
        assert torch.equal(plain(x, mode='tensor'), model(x, mode='tensor'))
        neck = mwam_neck(model)
        mwam = neck.mwam

        def predict(with_mwam: bool) -> None:
            neck.mwam = mwam if with_mwam else None
            model(x, mode='tensor')

        seconds = alternate(
            dict(
                on=lambda: predict(True),
                off=lambda: predict(False),
                plain=lambda: plain(x, mode='tensor')), setting,
            10 if setting.quick else None)
    name = 'tiny' if setting.tiny else 'ResNet-50 FCN, 480x640'
    return [
        compare('c', f'inference, trained with MWAM / without, {name}',
                seconds['on'], seconds['off'], 1, within_spread=True),
        compare('c', f'inference, ours / plain two-stream, {name}',
                seconds['on'], seconds['plain'], 1, within_spread=True),
    ]
