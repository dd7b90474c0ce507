"""Scenes that several tests look at."""
import pytest

from mwam_mm.datasets.scenes import render_scene


@pytest.fixture(scope='session')
def rendered():
    return [render_scene(seed) for seed in range(16)]
