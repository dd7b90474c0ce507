"""Fixtures of the tests of tools/."""
import importlib.util
import os
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[2] / 'tools'


@pytest.fixture(autouse=True)
def _keep_environment():
    """Take back what the tools set in the environment."""
    before = dict(os.environ)
    yield
    for name in set(os.environ) - set(before):
        del os.environ[name]
    os.environ.update(before)


@pytest.fixture
def load_tool():
    """Import a script of tools/ by its name."""

    def load(name):
        spec = importlib.util.spec_from_file_location(
            f'tools_{name}', TOOLS / f'{name}.py')
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture
def write_config(tmp_path):
    """Write a config file and return its path."""

    def write(text, name='my_job.py'):
        path = tmp_path / name
        path.write_text(text)
        return str(path)

    return write


@pytest.fixture
def exit_of_tool(load_tool, monkeypatch, capsys):
    """Run a script of tools/ that is to fail: exit status, what it said."""

    def run(name, *argv):
        monkeypatch.setattr(sys, 'argv', [f'{name}.py', *argv])
        with pytest.raises(SystemExit) as error:
            load_tool(name).main()
        return error.value.code, capsys.readouterr().err

    return run
