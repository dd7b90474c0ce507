"""Part e: loading pairs, and waiting for them."""
import os.path as osp
import tempfile
import time
from typing import Dict, List

import cv2
import numpy as np
import torch
from mmcv.transforms import LoadImageFromFile
from mmengine.optim import OptimWrapper
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from mwam_mm.datasets.transforms import LoadModalities

from .measuring import Result, Setting, alternate, compare
from .models import build, flagships

LAYOUTS = {
    'uint8 RGB + uint8': dict(
        rgb=dict(channels=3, bgr_to_rgb=True), thermal=dict(channels=1)),
    'uint8 RGB + uint16 depth': dict(
        rgb=dict(channels=3, bgr_to_rgb=True),
        depth=dict(channels=1, mean=3.8, scale=0.001, invalid_value=0)),
}


def photograph(generator: np.random.Generator, size: tuple, channels: int,
               dtype: type) -> np.ndarray:
    """Smooth areas, edges and noise, which compress like a photograph."""
    height, width = size
    coarse = generator.random((height // 16, width // 16, channels))
    image = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    image = image.reshape(height, width, channels)
    image += 0.02 * generator.standard_normal(image.shape)
    return (image.clip(0, 1) * np.iinfo(dtype).max).astype(dtype)


def write_pairs(folder: str, size: tuple, layout: dict,
                num: int = 4) -> List[Dict[str, str]]:
    """Write pairs as PNG.

    Returns:
        list[dict[str, str]]: Per sample, the path of each path key.
    """
    generator = np.random.default_rng(0)
    samples = []
    for i in range(num):
        sample = {}
        for name, fields in layout.items():
            key = 'img_path' if name == 'rgb' else f'{name}_path'
            sample[key] = osp.join(folder, f'{name}{i}.png')
            dtype = np.uint16 if 'scale' in fields else np.uint8
            image = photograph(generator, size, fields['channels'], dtype)
            assert cv2.imwrite(sample[key], image)
        samples.append(sample)
    return samples


def run_e(setting: Setting) -> List[Result]:
    """LoadModalities against the stock transform for the same files.

    The stock one gives one image per file, in the same data type. The samples
    are kept until there are four, as for a batch.
    """
    size = (64, 64) if setting.tiny else (480, 640)
    results = []
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # as in a worker of a dataloader
    with tempfile.TemporaryDirectory() as folder:
        for name, layout in LAYOUTS.items():
            samples = write_pairs(folder, size, layout)
            ours = LoadModalities(layout)
            is_float = ours(dict(samples[0]))['img'].dtype == np.float32
            stock = LoadImageFromFile(
                color_type='unchanged', to_float32=is_float)

            def load_stock(samples=samples, stock=stock) -> list:
                return [
                    stock(dict(img_path=path)) for sample in samples
                    for path in sample.values()
                ]

            def load_ours(samples=samples, ours=ours) -> list:
                return [ours(dict(sample)) for sample in samples]

            seconds = alternate(
                dict(stock=load_stock, ours=load_ours), setting)
            results.append(
                compare('e', f'samples/s, LoadModalities / stock, {name}',
                        seconds['stock'], seconds['ours'], at_least=0.95))
    cv2.setNumThreads(threads)
    if not setting.tiny:
        results.append(waiting(setting))
    return results


def waiting(setting: Setting) -> Result:
    """Share of a training iteration that waits for data."""
    name, cfg = next(iter(flagships().items()))
    init_default_scope(cfg.default_scope)
    model = build(cfg.model, setting.device)
    optimizer = OptimWrapper(torch.optim.SGD(model.parameters(), lr=1e-4))
    batches = iter(Runner.build_dataloader(cfg.train_dataloader, seed=0))
    model.train()
    shares = []
    for i in range(6 if setting.quick else 2 + setting.repeats):
        start = time.perf_counter()
        batch = next(batches)
        loaded = time.perf_counter()
        model.train_step(batch, optimizer)
        if i >= 2:  # the workers have started
            shares.append((loaded - start) / (time.perf_counter() - start))
    low, median, high = np.percentile(shares, [25, 50, 75])
    return Result('e', f'share of an iteration waiting for data, {name}',
                  float(median), float(low), float(high))
