"""What the tests of the model zoos share."""
import itertools

import torch
from mmengine.config import Config
from mmengine.registry import MODELS
from mmengine.runner import Runner

from mwam_mm.convert.bases import find_base, load_config
from mwam_mm.convert.datasets import load_dataset
from mwam_mm.convert.job import compose
from mwam_mm.models.backbones import map_levels


def record_gradients(model, gradients):
    """Note what the branches get back, by modality and level."""

    def hook(module, args, outputs):
        if not module.training:
            return outputs

        def watch(name, features):
            levels = itertools.count()

            def view(feature):
                # Of its own, as a branch may use its levels itself as well.
                feature = feature.view_as(feature)
                key = name, next(levels)
                feature.register_hook(
                    lambda gradient: gradients.update({key: gradient}))
                return feature

            return map_levels(view, features)

        return outputs._replace(features={
            name: watch(name, f)
            for name, f in outputs.features.items()
        })

    model.backbone.register_forward_hook(hook)


def train_with_mwam(package, name, folder, size, override):
    """Make a stock config multimodal, train an iteration and check K.

    K acts on the gradients, and no sample lacks a modality, so that what
    every branch gets back can be compared.
    """
    family = name.split('/')[0]
    name = f'{package}::{name}'
    base = load_config(find_base(name))
    text = compose(
        name,
        base,
        load_dataset(None, base), ['rgb:3', 'depth:1'],
        recipe='gradient',
        smoke_size=size)
    config = folder / f'{family}.py'
    config.write_text(text)
    cfg = Config.fromfile(config)
    cfg.custom_hooks[-1].intervention = 'gradient'
    cfg.model.override = dict(cfg.model.get('override') or {}, **override)
    cfg.work_dir = str(folder / family)
    cfg.log_level = 'WARNING'
    cfg.randomness = dict(seed=0)
    runner = Runner.from_cfg(cfg)
    assert type(runner.model) is MODELS.get(f'{package}.{base.model.type}')
    gradients = {}
    record_gradients(runner.model, gradients)
    runner.train()

    assert runner.iter == 1
    mwam = runner.model.neck.mwam
    assert bool(mwam.bank.seen.all())
    weights = dict(zip(mwam.modalities, mwam.weights.tolist()))
    assert all(0.5 <= k <= 1.5 and abs(k - 1) > 1e-3 for k in weights.values())
    # Every branch gets the gradient of the sum times its own weight.
    levels = {i for _, i in gradients}
    assert levels
    for i in levels:
        if type(runner.model.neck.fusions[i]).__name__ == 'SumFusion':
            rgb, depth = gradients['rgb', i], gradients['depth', i]
            assert torch.allclose(
                rgb / weights['rgb'], depth / weights['depth'], rtol=1e-4)
            assert rgb.abs().max() > 0
