import multiprocessing
import os
from types import SimpleNamespace

import pytest
from filelock import FileLock

from mwam_mm.studies import Run, Variant
from mwam_mm.studies.run import fingerprint
from tests import tiny
from tests.studies import write_report


def test_a_run_that_another_process_trains_is_left_to_it(tmp_path, capfd):
    folder = tmp_path / 'work_dirs/compare_seeds/a/seed0'
    folder.mkdir(parents=True)
    run = Run('a', 'a.py', Variant('a.py'), 0, str(folder))
    with FileLock(folder / 'lock'):
        process = multiprocessing.get_context('fork').Process(
            target=run.train)
        process.start()
        while 'is being trained already' not in capfd.readouterr().out:
            assert process.is_alive()
        write_report(tmp_path, 'a', 0, {'rgb+depth': 80., 'rgb': 60.},
                     ['mIoU'])
    process.join()
    assert process.exitcode == 0
    assert run.is_done() and not os.path.exists(run.log)


def pretend_to_train(monkeypatch, folder):
    """Let a training move the report that is there; gives the configs."""

    class Trained:

        def train(self):
            new = folder / '20260102_000000'
            new.mkdir()
            (folder / '20260101_000000/missing_modality_val.json').rename(
                new / 'missing_modality_val.json')

    built = []
    monkeypatch.setattr('mwam_mm.studies.run.build_runner',
                        lambda cfg: built.append(cfg) or Trained())
    monkeypatch.setattr(os, 'dup2', lambda *args: None)
    return built


def test_a_run_that_was_cut_off_is_not_resumed(tmp_path, monkeypatch):
    """It may have had other settings, of which nothing would tell."""
    tiny.config(tmp_path, resume=True).dump(tmp_path / 'a.py')
    write_report(tmp_path, 'a', 0, {'rgb+depth': 80., 'rgb': 60.}, ['mIoU'])
    folder = tmp_path / 'work_dirs/compare_seeds/a/seed0'
    (folder / 'finished').unlink()
    built = pretend_to_train(monkeypatch, folder)
    variant = Variant(str(tmp_path / 'a.py'))
    run = Run('a', 'a.py', variant, 7, str(folder))
    run.train()
    assert [(cfg.resume, cfg.randomness.seed) for cfg in built] == [(False, 7)]
    assert run.is_done()
    # The folder is no setting.
    assert fingerprint(variant.load('a')) == fingerprint(variant.load('b'))
    other = Run('a', 'a.py', Variant(variant.config, dict(compile=True)), 7,
                str(folder))
    with pytest.raises(RuntimeError, match='of a run with other settings'):
        other.is_done()


def test_a_training_that_writes_no_report_is_not_done(tmp_path, monkeypatch):
    tiny.config(tmp_path).dump(tmp_path / 'a.py')
    write_report(tmp_path, 'a', 0, {'rgb+depth': 80., 'rgb': 60.}, ['mIoU'])
    folder = tmp_path / 'work_dirs/compare_seeds/a/seed0'
    (folder / 'finished').unlink()
    pretend_to_train(monkeypatch, folder)
    monkeypatch.setattr('mwam_mm.studies.run.build_runner',
                        lambda cfg: SimpleNamespace(train=lambda: None))
    run = Run('a', 'a.py', Variant(str(tmp_path / 'a.py')), 0, str(folder))
    run.train()
    assert not run.is_done()


def test_a_second_stage_whose_first_one_is_another_now(tmp_path, monkeypatch):
    """Its settings are the same, and its numbers would be of what is gone."""
    (tmp_path / 'first0.pth').write_bytes(b'weights')
    tiny.config(tmp_path).dump(tmp_path / 'a.py')
    write_report(tmp_path, 'a', 0, {'rgb+depth': 80., 'rgb': 60.}, ['mIoU'])
    folder = tmp_path / 'work_dirs/compare_seeds/a/seed0'
    built = pretend_to_train(monkeypatch, folder)
    (folder / 'finished').unlink()
    start = str(tmp_path / 'first{seed}.pth')
    run = Run('a', 'a.py',
              Variant(str(tmp_path / 'a.py'), dict(load_from=start)), 0,
              str(folder))
    run.train()
    assert [cfg.load_from for cfg in built] == [str(tmp_path / 'first0.pth')]
    assert run.is_done()
    (tmp_path / 'first0.pth').write_bytes(b'others')
    with pytest.raises(RuntimeError, match='started from another file than '
                       '.*first0.pth is now'):
        run.is_done()
    (tmp_path / 'first0.pth').unlink()  # to save space, say
    assert run.is_done()
