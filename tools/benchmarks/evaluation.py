"""Part d: evaluation with missing modalities."""
import json
import logging
import tempfile
from typing import Dict, List

import numpy as np
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from torch.utils.data import Dataset

from mwam_mm.evaluation import newest_report, save_report
from mwam_mm.layout import ModalityLayout
from mwam_mm.registry import DATASETS, LOOPS

from .loading import write_pairs
from .measuring import Result, Setting, alternate, compare
from .models import modalities, random_batch, two_stream_fcn


@DATASETS.register_module()
class BenchmarkPairs(Dataset):
    """PNG pairs with random labels."""

    metainfo = dict(
        classes=[str(i) for i in range(40)], palette=[[0, 0, 0]] * 40)

    def __init__(self, folder: str, size: tuple, num_samples: int,
                 num_modalities: int) -> None:
        from mwam_mm.datasets.transforms import LoadModalities
        layout = modalities(num_modalities)
        self.paths = write_pairs(folder, size, layout, num_samples)
        self.load = LoadModalities(layout)
        self.samples = random_batch(num_samples, size,
                                    num_modalities)['data_samples']

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, i: int) -> dict:
        image = self.load(dict(self.paths[i]))['img']
        return dict(
            inputs=torch.from_numpy(image).permute(2, 0, 1),
            data_samples=self.samples[i])


def runner(model: dict, dataset: dict, work_dir: str) -> Runner:
    return Runner.from_cfg(
        Config(
            dict(
                default_scope='mmseg',
                model=model,
                work_dir=work_dir,
                test_dataloader=dict(
                    batch_size=1,
                    num_workers=0,
                    sampler=dict(type='DefaultSampler', shuffle=False),
                    dataset=dataset),
                test_evaluator=dict(type='IoUMetric'),
                test_cfg=dict(type='mwam_mm.MissingModalityTestLoop'),
                visualizer=dict(type='SegLocalVisualizer', vis_backends=[]),
                default_hooks=dict(logger=None, checkpoint=None),
                log_level='ERROR',
                experiment_name='benchmark')))


def evaluate(part: str, name: str, model: dict, size: tuple,
             num_modalities: int, at_most: float, setting: Setting,
             repeats: int) -> List[Result]:
    """One pass over all combinations against a run for each."""
    layout = ModalityLayout(modalities(num_modalities))
    with tempfile.TemporaryDirectory() as folder:
        run = runner(
            model,
            dict(
                type='mwam_mm.BenchmarkPairs',
                folder=folder,
                size=size,
                num_samples=30 if setting.device == 'cuda' else 3,
                num_modalities=num_modalities), folder)
        # What a run prints and writes is the same for all.
        logging.disable(logging.CRITICAL)
        one_pass = run.test_loop

        def loop(combination: tuple):
            return LOOPS.build(
                dict(
                    type='mwam_mm.MissingModalityTestLoop',
                    dataloader=one_pass.dataloader,
                    evaluator=one_pass.evaluator,
                    combinations=[combination]),
                default_args=dict(runner=run))

        loops = [loop(c) for c in layout.combinations()]
        one_pass.run()
        with open(newest_report(folder, 'test')) as file:
            report = json.load(file)

        def bound() -> None:
            least(run, layout)
            save_report(report, folder)

        seconds = alternate(
            dict(
                one_pass=one_pass.run,
                separate=lambda: [x.run() for x in loops],
                bound=bound), setting, repeats, warm_up=1)
        logging.disable(logging.NOTSET)
    return [
        compare(part, f'one pass / separate runs, {name}',
                seconds['one_pass'], seconds['separate'], at_most=at_most),
        compare(part, f'one pass / bound, {name}', seconds['one_pass'],
                seconds['bound'], at_most=1.1),
    ]


@torch.no_grad()
def least(run: Runner, layout: ModalityLayout) -> Dict[str, float]:
    """What no evaluation can leave out, and nothing else.

    Each sample is loaded and normalised once, each branch runs once, neck and
    head run once per combination, and every prediction is counted. The report
    is written on top of it.
    """
    model = run.model.eval()
    evaluator = run.test_loop.evaluator
    for batch in run.test_loop.dataloader:
        data = model.data_preprocessor(batch, False)
        inputs, samples = data['inputs'], data['data_samples']
        metas = [sample.metainfo for sample in samples]
        features = {
            name: model.backbone.branches[name](inputs[:, m.slice])
            for name, m in layout.items()
        }
        for combination in layout.combinations():
            fused = [
                fusion({
                    name: f[i] if name in combination else
                    torch.zeros_like(f[i])
                    for name, f in features.items()
                }, {
                    name: [name in combination] * len(inputs)
                    for name in features
                }) for i, fusion in enumerate(model.neck.fusions)
            ]
            logits = model.decode_head.predict(fused, metas, model.test_cfg)
            predictions = model.postprocess_result(
                logits, [sample.new() for sample in samples])
            evaluator.process(data_samples=predictions, data_batch=batch)
    for metric in evaluator.metrics:
        np.stack([torch.stack(r).numpy() for r in metric.results])
        metric.results.clear()


def run_d(setting: Setting) -> List[Result]:
    """Evaluation of all combinations, for two and three modalities."""
    if setting.tiny:
        return evaluate('d', 'tiny, M = 2',
                        two_stream_fcn(18, base_channels=8), (64, 64), 2, 0.7,
                        setting, setting.repeats)
    results = evaluate('d', 'ResNet-50 FCN, 480x640, M = 2',
                       two_stream_fcn(), (480, 640), 2, 0.7, setting,
                       3 if setting.quick else setting.repeats)
    if not setting.quick:
        results += evaluate('d', 'ResNet-50 FCN, 480x640, M = 3',
                            two_stream_fcn(num_modalities=3), (480, 640), 3,
                            0.7, setting, setting.repeats)
    return results
