"""What the tests of the model zoos share."""
import importlib.util
import itertools
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import MODELS
from mmengine.runner import Runner

from mwam_mm.models.backbones import map_levels

TOOL = Path(__file__).resolve().parents[1] / 'tools/misc/to_multimodal.py'


def load_tool():
    spec = importlib.util.spec_from_file_location('to_multimodal', TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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
    """Make a stock config multimodal, train an iteration and check K."""
    tool = load_tool()
    family = name.split('/')[0]
    path = tool.find_base(f'{package}::{name}')
    base = tool.load_config(path)
    text = tool.compose(path, base, tool.load_dataset(None, base),
                        ['rgb:3', 'depth:1'], size)
    config = folder / f'{family}.py'
    config.write_text(text)
    cfg = Config.fromfile(config)
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
