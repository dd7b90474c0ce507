import multiprocessing
import os

from filelock import FileLock

from mwam_mm.studies import Run, Variant
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
