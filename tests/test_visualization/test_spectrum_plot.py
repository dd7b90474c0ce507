"""Spectra of modalities, and their plot."""
import numpy as np
import pytest
import torch
from scipy.fft import dctn

from mwam_mm.mwam.dct import spectrum
from mwam_mm.visualization import plot_spectra


def test_spectrum_is_that_of_the_cosine_transform():
    x = torch.randn(2, 3, 19, 26)
    expected, count = np.zeros(15), np.zeros(15)
    for image in x.double().flatten(0, 1).numpy():
        for i in range(0, 16, 8):
            for j in range(0, 24, 8):
                sizes = abs(dctn(image[i:i + 8, j:j + 8], norm='ortho'))
                for (u, v), size in np.ndenumerate(sizes):
                    expected[u + v] += size
                    count[u + v] += 1
    np.testing.assert_allclose(spectrum(x).numpy(), expected / count)
    with pytest.raises(ValueError, match='at least one patch of 8 x 8'):
        spectrum(x[..., :7])


def test_panels():
    curve = spectrum(torch.randn(1, 1, 16, 16))
    figure = plot_spectra(
        {'trees': dict(rgb=curve, nir=2 * curve), 'pots': dict(rgb=curve)})
    first, second = figure.axes
    assert [a.get_title() for a in figure.axes] == ['trees', 'pots']
    drawn = [np.asarray(line.get_ydata()) for line in first.get_lines()]
    np.testing.assert_allclose(drawn[1], 2 * drawn[0])
    np.testing.assert_allclose(drawn[0], curve)
    assert len(second.get_lines()) == 1
