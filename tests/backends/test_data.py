"""Dense rows as sparse ones, against SciPy."""

import numpy as np
import pytest
import scipy.sparse

from fastnn.training.batches import CsrRows


def data(samples, features, density, dtype, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(samples, features)).astype(dtype)
    x[rng.random(x.shape) >= density] = 0
    x[samples // 2] = 0  # an empty row
    x[-1, -3:] = 0
    return x


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("density", [0.0, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("shape", [(1, 1), (7, 5), (40, 33), (700, 9)])
def test_compressed_rows(kernels, shape, density, dtype):
    x = data(*shape, density, dtype)
    expected = scipy.sparse.csr_matrix(x)
    for n_threads in (1, 2):
        rows = CsrRows.from_dense(x, kernels, n_threads)
        np.testing.assert_array_equal(rows.indptr, expected.indptr)
        np.testing.assert_array_equal(rows.indices, expected.indices)
        np.testing.assert_array_equal(rows.values[0], expected.data)
        assert rows.values.dtype == x.dtype
        assert rows.indices.dtype == np.int32
        assert rows.indptr.dtype == np.int64


def test_compress_writes_only_its_rows(kernels):
    x = data(50, 20, 0.3, "float32")
    expected = scipy.sparse.csr_matrix(x)
    indptr = expected.indptr.astype(np.int64)
    indices, values = np.full(expected.nnz, -1, np.int32), np.full(expected.nnz, -1, np.float32)
    for first, last in ((25, 50), (0, 10), (10, 25), (3, 3)):
        kernels.compress(x, first, last, indptr, indices, values)
    np.testing.assert_array_equal(indices, expected.indices)
    np.testing.assert_array_equal(values, expected.data)


def test_cython_checks_arrays(compiled):
    if compiled.NAME != "cython":
        pytest.skip("Numba's kernels trust their arguments")
    x, indptr = np.ones((3, 2), "f4"), np.array([0, 2, 4, 6])
    with pytest.raises(ValueError, match="indices has 5 elements; 6 are needed"):
        compiled.compress(x, 0, 3, indptr, np.empty(5, np.int32), np.empty(6, "f4"))
    with pytest.raises(ValueError, match="rows 0 to 4 of 3"):
        compiled.compress(x, 0, 4, indptr, np.empty(6, np.int32), np.empty(6, "f4"))
