"""Files of studies for the tests."""
import json

from . import benchmarks


def write_report(folder, config, seed, scores, metrics):
    """Report of a finished run, with a tenth of the score as PCR."""
    path = folder / f'work_dirs/compare_seeds/{config}/seed{seed}'
    run = path / '20260101_000000'
    run.mkdir(parents=True)
    (run / 'missing_modality_val.json').write_text(json.dumps(dict(
        combinations={
            name: dict(metrics=dict.fromkeys(metrics, score))
            for name, score in scores.items()},
        avg=dict(
            metrics=dict.fromkeys(metrics, sum(scores.values()) / 2),
            PCR=dict.fromkeys(metrics, scores['rgb'] / 10)))))
    (path / 'finished').touch()


def write_study(folder):
    """A study of files with ceilings; the training is one iteration."""
    root = benchmarks.write_msrs(folder / 'msrs')
    cfg = benchmarks.load_config('msrs/two-stream-r50_md_msrs.py', root,
                                 folder / 'job')
    cfg.dump(folder / 'job.py')
    (folder / 'files.py').write_text("""
seeds = [0, 1]
baseline = 'md'
ceilings = 'md'
metric = 'mIoU'
options = {'train_cfg.val_begin': 1}
variants = dict(md=dict(config='job.py'))
""")
