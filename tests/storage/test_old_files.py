"""Files of every version go on loading: ``fixtures/models/make.py`` wrote them."""

from pathlib import Path

import numpy as np
import pytest
from helpers import load_backend

import fastnn
from fastnn import storage

FOLDER = Path(__file__).parents[1] / "fixtures" / "models"
FILES = sorted(FOLDER.glob("*/*.safetensors"))


def test_fixtures_cover_every_format():
    found = {storage.describe(path).format_version for path in FILES}
    assert found == set(range(1, storage.FORMAT_VERSION + 1))


@pytest.mark.parametrize("backend", ["numpy", "numba", "cython"])
@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_old_files_predict_the_same(path, backend):
    load_backend(backend)
    model = fastnn.load(path, backend=backend)
    with np.load(path.parent / "predictions.npz") as stored:
        X, expected = stored["X"], stored[path.stem]
    has_probabilities = getattr(model, "classes_", None) is not None
    predicted = (model.predict_proba if has_probabilities else model.predict)(X)
    # five products of up to six numbers of order one, in the files' own float32 or float64
    double = storage.describe(path).config.dtype == "float64"
    np.testing.assert_allclose(predicted, expected, rtol=0, atol=1e-12 if double else 1e-5)
