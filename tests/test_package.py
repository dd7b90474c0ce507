"""Tests of the package as a whole: imports, the stack, set-up, metadata."""
import email
import os
import re
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import mmcv
import mmengine
import pytest
import yaml

import mwam_mm
from mwam_mm.stack import check_stack, has_detection

from .stacks import is_official

REPO = Path(__file__).resolve().parents[1]


def run_python(code, *, blocked=()):
    """Run ``code`` in a new process that cannot import ``blocked``."""
    block = f'import sys; sys.modules.update(dict.fromkeys({list(blocked)}))\n'
    return subprocess.run(
        [sys.executable, '-c', block + code],
        cwd=REPO,
        capture_output=True,
        text=True)


def last_line(run):
    return run.stderr.strip().splitlines()[-1]


class TestStack:

    def test_method_needs_no_openmmlab(self):
        run = run_python(
            'import torch\n'
            'from mwam_mm.mwam import frm\n'
            'assert frm(torch.rand(1, 1, 16, 16)).ndim == 0',
            blocked=['mmengine', 'mmcv', 'mmseg', 'mmdet', 'cv2'])
        assert run.returncode == 0, run.stderr

    @pytest.mark.parametrize('name', ['mmengine', 'mmcv'])
    def test_missing_package(self, name):
        run = run_python('import mwam_mm.registry', blocked=[name])
        assert run.returncode == 1
        assert f'ImportError: mwam_mm needs {name}>=' in run.stderr
        assert 'which is not installed' in run.stderr
        assert ('pip install onedl-mmengine onedl-mmcv onedl-mmsegmentation'
                in run.stderr)
        assert 'mim install mmengine mmcv mmsegmentation' in run.stderr

    @pytest.mark.parametrize('blocked, there, missing', [
        (['mmseg'], 'Det', 'Seg'),
        (['mmcv._ext'], 'Seg', 'Det'),
        (['mmdet'], 'Seg', 'Det'),
    ])
    def test_one_task_does_without_the_other(self, blocked, there, missing):
        if there == 'Det' and not has_detection():
            pytest.skip('needs mmdet and the compiled ops of mmcv')
        if 'mmcv._ext' in blocked and is_official():
            pytest.skip('the official mmseg needs the compiled ops of mmcv')
        run = run_python(
            'import mwam_mm.engine, mwam_mm.datasets as d, mwam_mm.models as m'
            '\nimport mwam_mm.apis, mwam_mm.convert as c'
            f'\nassert hasattr(m, "MultiModal{there}DataPreprocessor")'
            f'\nassert not hasattr(m, "MultiModal{missing}DataPreprocessor")'
            '\nassert d.LoadModalities and c.multimodal_pipeline',
            blocked=blocked)
        assert run.returncode == 0, run.stderr

    @pytest.mark.parametrize('tool', [
        ['train.py', 'configs/rgbd_det_mwam.py'],
        ['misc/to_multimodal.py', 'configs/rgbd_det.py', '--modalities',
         'rgb:3', '-o', 'never.py'],
    ], ids=lambda t: t[0])
    def test_detection_without_the_ops_says_how_to_build_them(self, tool):
        pytest.importorskip('mmdet')
        path, *args = tool
        run = run_python(
            'import runpy\n'
            f'sys.argv = ["tool", *{args}]\n'
            f'runpy.run_path("tools/{path}", run_name="__main__")',
            blocked=['mmcv._ext'])
        assert run.returncode != 0
        assert 'needs the compiled ops of mmcv' in run.stderr
        assert 'make test' in run.stderr

    def test_the_other_tasks_do_without_classification(self):
        """And a config that needs it says what is missing."""
        run = run_python(
            'import mwam_mm.engine, mwam_mm.datasets as d, mwam_mm.models\n'
            'import mwam_mm.convert\n'
            'from mwam_mm.registry import MODELS\n'
            'assert d.MultiModalClsDataset\n'
            "MODELS.build(dict(type='MultiModalClsDataPreprocessor'))",
            blocked=['mmpretrain', 'torchvision'])
        assert run.returncode == 1
        assert 'needs mmpretrain>=1.3.6,<2.0.0, which is not' in run.stderr
        assert 'onedl-mmpretrain' in run.stderr

    def test_mmpretrain_is_imported_where_a_config_needs_it(self):
        run = run_python(
            'import mwam_mm.models, mwam_mm.datasets\n'
            'import mwam_mm.convert, mwam_mm.engine\n'
            'assert "mmpretrain" not in sys.modules',
            blocked=['mmdet', 'mmseg'])  # which import it themselves
        assert run.returncode == 0, run.stderr

    def test_missing_dependency_of_a_package_keeps_its_error(self):
        run = run_python('import mwam_mm.registry', blocked=['cv2'])
        assert last_line(run).startswith('ModuleNotFoundError')
        assert 'cv2' in last_line(run)
        assert 'onedl' not in run.stderr

    @pytest.mark.parametrize('module, version, accepted', [
        (mmengine, '0.10.2', False),
        (mmengine, '0.10.3', True),
        (mmengine, '0.10.12', True),
        (mmengine, '1.0.0', False),
        (mmcv, '1.7.2', False),
        (mmcv, '2.0.0rc3', False),
        (mmcv, '2.0.0rc4', True),
        (mmcv, '2.1.0', True),
        (mmcv, '3.0.0', False),
    ])
    def test_versions(self, monkeypatch, module, version, accepted):
        monkeypatch.setattr(module, '__version__', version)
        if accepted:
            check_stack()
        else:
            with pytest.raises(
                    ImportError, match=f'{version} is installed.*\n.*either'):
                check_stack()

    def test_only_what_is_asked_for(self, monkeypatch):
        monkeypatch.setitem(sys.modules, 'mmdet', None)
        check_stack()
        with pytest.raises(ImportError, match='needs mmdet>=3.0.0,<4.0.0'):
            check_stack('mmdet')


@pytest.fixture(scope='module')
def sources(tmp_path_factory):
    """A copy of the files that make up a distribution."""
    folder = tmp_path_factory.mktemp('sources')
    for name in ('mwam_mm', 'configs', 'demo', 'tools'):
        shutil.copytree(
            REPO / name,
            folder / name,
            ignore=shutil.ignore_patterns('__pycache__', '.mim'))
    for name in ('setup.py', 'pyproject.toml', 'MANIFEST.in', 'README.md',
                 'LICENSE', 'model-index.yml'):
        shutil.copy(REPO / name, folder)
    return folder


def build(sources, out, kind):
    """Build a distribution as pip does; return its path."""
    out.mkdir()
    subprocess.run(
        [
            sys.executable, '-c', 'import sys\n'
            'from setuptools import build_meta\n'
            f'build_meta.build_{kind}(sys.argv[1])',
            str(out)
        ],
        cwd=sources,
        check=True,
        capture_output=True)
    built, = out.iterdir()
    return built


@pytest.fixture(scope='module')
def wheel(sources, tmp_path_factory):
    pytest.importorskip('setuptools')
    out = tmp_path_factory.mktemp('wheel') / 'out'
    with zipfile.ZipFile(build(sources, out, 'wheel')) as file:
        yield file


def files_under(folder):
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob('*')
        if path.is_file() and '__pycache__' not in path.parts
        and '.mim' not in path.parts
    }


class TestDistribution:

    def test_wheel_has_all_sources(self, wheel):
        names = {
            name[len('mwam_mm/'):]
            for name in wheel.namelist()
            if name.startswith('mwam_mm/') and '/.mim/' not in name
        }
        assert names == files_under(REPO / 'mwam_mm')

    def test_wheel_ships_configs_and_tools_for_mim(self, wheel):
        prefix = 'mwam_mm/.mim/'
        names = {
            name[len(prefix):]
            for name in wheel.namelist() if name.startswith(prefix)
        }
        expected = {'model-index.yml'}
        for folder in ('configs', 'demo', 'tools'):
            expected |= {
                f'{folder}/{name}' for name in files_under(REPO / folder)
            }
        assert names == expected

    def test_building_a_wheel_leaves_the_sources_alone(self, wheel, sources):
        assert not (sources / 'mwam_mm' / '.mim').exists()

    def test_metadata(self, wheel):
        name, = (n for n in wheel.namelist() if n.endswith('/METADATA'))
        metadata = email.message_from_bytes(wheel.read(name))
        assert metadata['Version'] == mwam_mm.__version__
        assert metadata['License'] == 'Apache-2.0'
        required = {
            re.match(r'[\w.-]+', r).group(): 'extra' in r
            for r in metadata.get_all('Requires-Dist')
        }
        # no plain requirement is part of an OpenMMLab stack
        plain = {name for name, extra in required.items() if not extra}
        assert plain == {
            'matplotlib', 'numpy', 'tensorboard', 'tifffile', 'torch'
        }
        # all that is required is pinned in the tested set
        assert set(required) <= set(read_constraints())

    def test_editable_links_configs_and_tools(self, sources, tmp_path):
        pytest.importorskip('setuptools', minversion='64')
        build(sources, tmp_path / 'out', 'editable')
        mim = sources / 'mwam_mm' / '.mim'
        try:
            for name in ('configs', 'demo', 'tools', 'model-index.yml'):
                assert (mim / name).is_symlink()
                assert (mim / name).resolve() == (sources / name).resolve()
                assert not os.path.isabs(os.readlink(mim / name))
            # a repeat replaces the links, and never what they point to
            build(sources, tmp_path / 'again', 'editable')
            assert (mim / 'tools').is_symlink()
            assert (sources / 'tools' / 'train.py').is_file()
        finally:
            shutil.rmtree(mim)


def read_constraints(name='constraints.txt'):
    lines = (REPO / name).read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith('#')]
    assert all(re.fullmatch(r'[\w.-]+==[\w.]+', pin) for pin in pins)
    return dict(pin.split('==') for pin in pins)


class TestConstraints:

    def test_one_opencv_beside_imaug(self):
        pins = read_constraints()
        assert pins['opencv-python'] == pins['opencv-python-headless']
        assert pins['opencv-python'].startswith('4.')

    def test_tested_torch_has_no_local_version(self):
        assert read_constraints()['torch'] == '2.13.0'

    def test_tools_of_the_makefile_are_pinned(self):
        pins = read_constraints()
        tools = {'pip', 'ninja', 'packaging', 'setuptools', 'wheel'}
        assert tools | {'ruff'} <= set(pins)
        assert tools | {'psutil'} <= set(
            read_constraints('constraints-official.txt'))

    def test_the_official_stack_is_of_the_age_of_torch_2_1(self):
        pins = read_constraints('constraints-official.txt')
        official = {'mmengine', 'mmcv', 'mmsegmentation', 'mmdet'}
        assert official <= set(pins)
        assert not any(name.startswith('onedl') for name in pins)
        assert pins['torch'].startswith('2.1.')
        # which has no build for NumPy 2, and mmcv none for later setuptools
        assert pins['numpy'].startswith('1.')
        assert int(pins['setuptools'].split('.')[0]) < 70


def run_make(venv, *argv):
    """Run make as if no other make, such as `make test`, was around it."""
    hidden = ('MAKEFLAGS', 'MFLAGS', 'MAKELEVEL', 'MAKEOVERRIDES', 'ARGS',
              'CONFIG', 'MAX_JOBS', 'PYTHON', 'STACK', 'WHEELS')
    return subprocess.run(
        ['make', '--no-print-directory', f'VENV={venv}', *argv],
        cwd=REPO,
        env={k: v for k, v in os.environ.items() if k not in hidden},
        capture_output=True,
        text=True)


@pytest.mark.skipif(shutil.which('make') is None, reason='needs make')
class TestMakefile:

    @staticmethod
    def dry_run(venv, *targets):
        run = run_make(venv, '-n', *targets)
        assert run.returncode == 0, run.stderr
        return run.stdout

    @staticmethod
    def finish(venv, *steps):
        stamps = venv / 'stamps'
        stamps.mkdir(parents=True, exist_ok=True)
        for i, step in enumerate(steps):
            (stamps / step).touch()
            later = time.time() + i
            os.utime(stamps / step, (later, later))

    def test_train_compiles_nothing(self, tmp_path):
        plan = self.dry_run(tmp_path, 'train')
        assert 'onedl-mmcv' not in plan and '.[det' not in plan
        assert plan.index('-m venv') < plan.index("-e '.[cls,fast,seg]'")
        assert plan.rstrip().endswith(
            'tools/train.py configs/rgbd_seg_mwam.py')

    def test_flags_are_passed_on(self, tmp_path):
        plan = self.dry_run(tmp_path, 'train', 'ARGS=--resume', 'CONFIG=c.py')
        assert plan.rstrip().endswith('tools/train.py c.py --resume')

    def test_official_stack_has_an_environment_of_its_own(self, tmp_path):
        plan = self.dry_run(tmp_path, 'test', 'STACK=official')
        assert 'onedl' not in plan
        assert '-c constraints-official.txt' in plan
        assert '-c constraints.txt' not in plan
        order = [plan.index(step) for step in (
            '-m venv', 'mmsegmentation', 'psutil', 'mmdet', '-m pytest')]
        assert order == sorted(order)
        run = run_make(tmp_path, '-n', 'test-official')
        assert run.returncode == 0, run.stderr
        assert 'constraints-official.txt' in run.stdout

    def test_finished_steps_are_skipped(self, tmp_path):
        self.finish(tmp_path, 'venv', 'seg')
        train = self.dry_run(tmp_path, 'train')
        assert len(train.splitlines()) == 1
        test = self.dry_run(tmp_path, 'test')
        assert "'.[cls,fast,seg]'" not in test
        assert test.index('onedl-mmcv') < test.index("'.[cls,det,fast,tests]'")
        self.finish(tmp_path, 'venv', 'seg', 'ops', 'det')
        assert len(self.dry_run(tmp_path, 'test').splitlines()) == 1

    def test_outdated_steps_are_repeated(self, tmp_path):
        self.finish(tmp_path, 'venv', 'seg', 'ops', 'det')
        for step in ('venv', 'seg', 'ops', 'det'):
            os.utime(tmp_path / 'stamps' / step, (1, 1))
        assert "'.[cls,fast,seg]'" in self.dry_run(tmp_path, 'train')

    def test_wrong_python_is_named(self, tmp_path):
        run = run_make(tmp_path, 'PYTHON=no-such-python', 'train')
        assert run.returncode != 0
        assert 'needs Python 3.11' in run.stderr
        assert 'PYTHON=/path/to/python3.11' in run.stderr
        assert not (tmp_path / 'stamps').exists()


def test_ci_fails_without_the_data(tmp_path):
    run = subprocess.run(
        [str(REPO / '.ci' / 'run')],
        env=dict(os.environ, MWAM_DATA_ROOT=str(tmp_path / 'absent')),
        capture_output=True,
        text=True)
    assert run.returncode == 1
    assert str(tmp_path / 'absent') in run.stderr
    assert run.stdout == ''


def test_model_index_names_existing_files():
    index = yaml.safe_load((REPO / 'model-index.yml').read_text())
    collections = {c['Name'] for c in index['Collections']}
    for model in index['Models']:
        assert model['In Collection'] in collections
        assert (REPO / model['Config']).is_file(), model['Config']


def test_citation_names_the_paper():
    citation = yaml.safe_load((REPO / 'CITATION.cff').read_text())
    paper = citation['preferred-citation']
    assert citation['cff-version'] == '1.2.0'
    assert paper['title'].startswith('Plug, Play, and Fortify')
    assert paper['year'] == 2026
    assert {'value': 'arXiv:2602.22644'}.items() <= paper['identifiers'][
        0].items()
