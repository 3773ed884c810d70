"""Standardisation: digits of large numbers, the smooth clip, samples out of range."""

import pickle
from functools import partial

import numpy as np
import pytest
from helpers import load_backend

import fastnn
from fastnn.network.scales import BLOCK_ELEMENTS, shift_and_scale

SECONDS = np.arange(600)
TIMES = (1.7e9 + SECONDS)[:, None]  # float32 has steps of 128 there
WAVE = np.sin(SECONDS / 60)


def regression(dtype="float32", backend="auto", **settings):
    return fastnn.Network(
        [1, 16, 1],
        loss="squared_error",
        standardize=True,
        dtype=dtype,
        backend=backend,
        random_state=0,
        **settings,
    )


def trained(x=TIMES, y=WAVE, epochs=40, **settings):
    net = regression(**settings)
    net.fit(x, y, optimizer=fastnn.Adam(0.02), epochs=epochs, batch_size=50)
    return net


def by_hand(x, dtype):
    return ((x - x.mean(axis=0)) / x.std(axis=0)).astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("backend", ["numpy", "numba", "cython"])
def test_times_are_shifted_before_the_cast(backend, dtype):
    load_backend(backend)
    net = trained(backend=backend, dtype=dtype)
    plain = fastnn.Network(
        [1, 16, 1], loss="squared_error", dtype=dtype, backend=backend, random_state=0
    )
    scaled_y = (WAVE - WAVE.mean()) / WAVE.std()
    z = by_hand(TIMES, dtype)
    plain.fit(z, scaled_y.astype(dtype), optimizer=fastnn.Adam(0.02), epochs=40, batch_size=50)
    # a rounding of the scales, carried through 480 steps
    tolerance = 1e-3 if dtype == "float32" else 1e-8
    expected = plain.predict(z).astype(float) * WAVE.std() + WAVE.mean()
    np.testing.assert_allclose(net.predict(TIMES), expected, atol=tolerance)
    np.testing.assert_allclose(net.loss(TIMES, WAVE), plain.loss(z, scaled_y), rtol=1e-2)


def test_scales_are_equal_for_both_dtypes():
    scores = [
        trained(dtype=dtype, epochs=80).score(TIMES, WAVE) for dtype in ("float32", "float64")
    ]
    assert min(scores) > 0.95
    assert abs(scores[0] - scores[1]) < 1e-3


@pytest.mark.parametrize("kind", [np.int64, "list", "frame", "columns first"])
def test_timestamps_in_any_container(kind):
    net = trained(epochs=2)
    if kind == "list":
        x = TIMES.tolist()
    elif kind == "frame":
        x = pytest.importorskip("pandas").DataFrame({"t": TIMES[:, 0].astype(int)})
    elif kind == "columns first":
        x = np.asfortranarray(np.hstack([TIMES, TIMES]))[:, :1]
    else:
        x = TIMES.astype(kind)
    np.testing.assert_array_equal(net.predict(x), net.predict(TIMES))
    assert net.loss(x, WAVE) == net.loss(TIMES, WAVE)


def test_validation_data_and_fit_many_use_training_scales():
    rows = np.arange(600) % 3 > 0
    alone = regression()
    settings = {"optimizer": fastnn.Adam(0.02), "epochs": 5, "batch_size": 50}
    alone.fit(TIMES[rows], WAVE[rows], validation_data=(TIMES[~rows], WAVE[~rows]), **settings)
    held_out = alone.loss(TIMES[~rows], WAVE[~rows])
    many = [
        fastnn.Fit(regression(), rows=rows, validation_rows=~rows),
        fastnn.Fit(fastnn.Network([1, 4, 1], loss="squared_error", dtype="float64")),
    ]
    (history, _) = fastnn.fit_many(many, TIMES, WAVE, **settings)
    assert history.validation_loss[-1] == held_out
    np.testing.assert_array_equal(many[0].network.params, alone.params)


def test_predictions_are_in_target_units_in_float64():
    y = 1e9 + WAVE
    net = trained(y=y, epochs=80)
    assert net.predict(TIMES).dtype == np.float64
    assert net.score(TIMES, y) > 0.95  # float32 has steps of 64 at 1e9
    np.testing.assert_allclose(
        net.predict(TIMES) - 1e9, trained(epochs=80).predict(TIMES), atol=1e-3
    )


@pytest.mark.parametrize("rows", [1, 7, 3 * BLOCK_ELEMENTS // 4])
@pytest.mark.parametrize("kind", ["f4", "f8", "f2", "i2", "u1", "i8", "?"])
def test_standardised_values_are_correctly_rounded(kind, rows):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 2 if kind == "?" else 100, (rows, 3)).astype(kind)
    reference = np.array([[0.0, 1.0, 2.0], [99.0, 100.0, 101.0]])
    net = fastnn.Network([3, 2], standardize=True)
    net.fit(reference, [0, 1], epochs=1)
    shift, scale = net.scales.input_shift, net.scales.input_scale
    expected = (x.astype("f8") - shift) * scale
    # the factor, the product, and where x is in float32 its difference to the mean are rounded
    np.testing.assert_allclose(net._inputs(x), expected, rtol=3e-7, atol=1e-9)
    assert net._inputs(x).dtype == np.float32


def test_mean_and_deviation_in_float64():
    rng = np.random.default_rng(0)
    x = 1.7e9 + rng.standard_normal((50_000, 2)) * [1e-3, 1e3]
    mean, scale, low, high = shift_and_scale(x, "X")
    exact = x.astype(np.longdouble)
    np.testing.assert_allclose(mean, exact.mean(axis=0).astype(float), rtol=1e-15)
    # the mean is rounded by up to d = 1.2e-7, which adds d^2 to the variance: (d / 1e-3)^2 / 2
    np.testing.assert_allclose(1 / scale, exact.std(axis=0).astype(float), rtol=7.5e-9)
    np.testing.assert_array_equal([low, high], [x.min(axis=0), x.max(axis=0)])


@pytest.mark.parametrize("features", [1, 3, 100])
@pytest.mark.parametrize("kind", ["f4", "f8"])
def test_standardising_does_not_change_the_data(kind, features):
    x = np.random.default_rng(0).normal(5.0, 2.0, (1000, features)).astype(kind)
    y, given = x[:, 0].copy(), x.copy()
    net = fastnn.Network([features, 1], loss="squared_error", standardize=True, smooth_clip=3)
    net.fit(x, y, epochs=1, validation_data=(x, y))
    net.score(x, y)
    net.out_of_range(x)
    np.testing.assert_array_equal(x, given)
    np.testing.assert_array_equal(y, given[:, 0])


def test_constant_columns_are_only_shifted():
    x = np.column_stack([np.full(1_000_000, 0.1), np.arange(1_000_000.0)])
    scale = shift_and_scale(x, "X")[1]
    assert scale[0] == 1.0
    np.testing.assert_allclose(scale[1], 1 / x[:, 1].std(), rtol=1e-12)
    nearly = np.array([[0.1 + 0.2], [0.3]])  # the last bit is rounding
    assert shift_and_scale(nearly, "X")[1][0] == 1.0


def test_values_too_large_to_standardise_raise():
    net = regression()
    with pytest.raises(ValueError, match="X has values too large to standardise in column 0"):
        net.fit([[1e300], [-1e300]], [0.0, 1.0], epochs=1)
    assert net.scales.input_shift is None


# --- without standardize ------------------------------------------------------------


@pytest.mark.parametrize("model", ["network", "regressor"])
def test_lost_spread_warns(model):
    x, y = np.hstack([WAVE[:, None], TIMES]), WAVE
    if model == "network":
        fit = partial(fastnn.Network([2, 1], loss="squared_error").fit, epochs=1)
    else:
        settings = {"dtype": "float32", "solver": "lbfgs", "tol": 1e30}
        fit = fastnn.MLPRegressor(hidden_layer_sizes=2, **settings).fit
    with pytest.warns(UserWarning, match=r"X: column 1 lies in \[1700000000, 1700000599\], where"):
        fit(x, y)


def test_lost_spread_warning_names_the_column():
    pandas = pytest.importorskip("pandas")
    x = pandas.DataFrame({"wave": WAVE, "time": TIMES[:, 0].astype(int)})
    with pytest.warns(UserWarning, match=r"X: column 'time' lies in"):
        fastnn.Network([2, 1], loss="squared_error").fit(x, WAVE, epochs=1)


def test_lost_spread_of_targets_warns():
    with pytest.warns(UserWarning, match=r"y: column 0 lies in .* float32 has steps of 64"):
        fastnn.Network([1, 1], loss="squared_error").fit(WAVE[:, None], 1e9 + WAVE, epochs=1)


@pytest.mark.parametrize(
    "column",
    [
        2000.0 + np.arange(25) % 20,  # years: exact
        np.full(25, 1.7e9 + 1),  # constant
        16_000_000.0 + np.arange(25),  # large, but exact
        1e6 + 1e5 * np.random.default_rng(0).standard_normal(25),
        (1.7e9 + np.arange(25)).astype(np.float32),  # nothing is cast
    ],
)
def test_representable_values_do_not_warn(column):
    dtype = "float32"
    fastnn.Network([1, 1], loss="absolute_error", dtype=dtype).fit(
        column[:, None], np.arange(25.0), epochs=1, optimizer=fastnn.SGD(1e-12)
    )


# --- smooth_clip, out_of_range -----------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("given", ["f4", "f8"])
def test_smooth_clip_follows_standardisation(given, dtype):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((80, 2)).astype(given)
    x[0] = 50.0
    net = fastnn.Network([2, 3, 2], standardize=True, smooth_clip=3, dtype=dtype, random_state=0)
    net.fit(x, x[:, 0] > 0, epochs=2)
    z = (x - x.mean(axis=0, dtype="f8")) / x.std(axis=0, dtype="f8")
    clipped = 3 * np.sin(np.arctan(z / 3))
    assert np.abs(clipped).max() < 3
    rtol = 1e-6 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(net._inputs(x), clipped, rtol=rtol, atol=rtol)
    plain = fastnn.Network([2, 3, 2], dtype=dtype)
    plain.params = net.params
    np.testing.assert_allclose(net.predict_proba(x), plain.predict_proba(clipped), atol=rtol)


@pytest.mark.parametrize(("dtype", "far"), [("f4", 1e30), ("f8", 1e300)])
def test_smooth_clip_of_largest_values(dtype, far):
    x = np.random.default_rng(0).standard_normal((80, 1)).astype(dtype)
    net = fastnn.Network([1, 2], standardize=True, smooth_clip=3, random_state=0)
    net.fit(x, x[:, 0] > 0, epochs=2)
    np.testing.assert_allclose(net._inputs(np.array([[far], [-far]], dtype)), [[3.0], [-3.0]])
    with pytest.raises(ValueError, match="X contains"):
        net.predict(np.array([[np.inf]], dtype))


def test_smooth_clip_limits_outliers():
    # a straight line: 34 deviations out its prediction is off by as much
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200, 1))
    predicted = []
    for clip in (None, 3.0):
        net = fastnn.Network(
            [1, 1], loss="squared_error", standardize=True, smooth_clip=clip, random_state=0
        )
        net.fit(x, x[:, 0], epochs=300, optimizer=fastnn.Adam(0.05))
        predicted.append(float(net.predict([[34.0]])[0]))
    assert predicted[0] == pytest.approx(34, rel=0.05)
    assert predicted[1] < 5


def test_smooth_clip_is_checked():
    with pytest.raises(ValueError, match="smooth_clip clips standardised features: set stand"):
        fastnn.Network([2, 2], smooth_clip=3.0)
    with pytest.raises(ValueError, match=r"smooth_clip must be a number in \(0, inf\); got 0"):
        fastnn.Network([2, 2], standardize=True, smooth_clip=0)


def test_out_of_range():
    x = np.array([[0.0, 5.0], [2.0, 5.0], [4.0, 5.0]])
    net = fastnn.Network([2, 2], standardize=True)
    with pytest.raises(ValueError, match="learned by fit of a network with standardize=True"):
        net.out_of_range(x)
    net.fit(x, [0, 1, 1], epochs=1)
    deviation = x[:, 0].std()
    cases = [[0, 5], [4 + 2.9 * deviation, 5], [4 + 3.1 * deviation, 5], [-3.1 * deviation, 5]]
    assert net.out_of_range(cases).tolist() == [False, False, True, True]
    assert net.out_of_range(cases, deviations=0).tolist() == [False, True, True, True]
    # a constant column has the deviation 1
    assert net.out_of_range([[0, 7.9], [0, 8.1]]).tolist() == [False, True]
    with pytest.raises(ValueError, match="deviations must be a number"):
        net.out_of_range(x, -1)


def test_pickles_of_older_versions():
    """Scales were in another module, without the range."""
    net = trained(epochs=2)
    expected = net.predict(TIMES)
    net.scales.input_low = net.scales.input_high = None
    old = pickle.dumps(net).replace(b"fastnn.network.scales", b"fastnn.network.inputs")
    again = pickle.loads(old)
    np.testing.assert_array_equal(again.predict(TIMES), expected)
    with pytest.raises(ValueError, match="the range of the training samples is not known"):
        again.out_of_range(TIMES)
