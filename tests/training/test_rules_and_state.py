"""Update rules, schedules and the state of a training on their own: what `make mutation` found."""

import math

import numpy as np
import pytest
from helpers import assert_bits

import fastnn
from fastnn.backends import codes
from fastnn.training.optimizers import (
    OPTIMIZERS,
    Adam,
    LevenbergMarquardt,
    get_optimizer,
    optimizer_from_dict,
)
from fastnn.training.schedules import SCHEDULES
from fastnn.training.state import Record, Snapshot, TrainingState

X = np.linspace(-1.0, 1.0, 24).reshape(12, 2)
Y = (X[:, 0] > 0).astype(int)

# --- schedules: values that their definitions give without a computer -------------

POINTS = {
    "cosine": {0: 1, 1 / 3: 0.75, 1 / 2: 0.5, 2 / 3: 0.25, 1: 0, 1.5: 0},
    "step": {0: 1, 0.3: 1, 0.34: 0.1, 0.66: 0.1, 0.67: 0.01, 1: 0.01, 2: 0.01},
    # from 1/25 to 1 within 0.3, to 4e-6 within 0.7 more, each half a cosine
    "one_cycle": {
        0: 0.04, 0.1: 0.04 + 0.25 * 0.96, 0.15: 0.52, 0.3: 1, 0.65: 0.5 * (1 + 4e-6), 1: 4e-6,
        1.2: 4e-6,
    },
    # its log2 is a whole number at its zeros, and half of one more at its peaks
    "coslog4": {
        0: 0, (2**0.5 - 1) / 15: 1, 1 / 15: 0, (2**1.25 - 1) / 15: 0.5, (2**1.5 - 1) / 15: 1,
        3 / 15: 0, (2**2.5 - 1) / 15: 1, 7 / 15: 0, (2**3.5 - 1) / 15: 1, 1: 0, 1.3: 0,
    },
}  # fmt: skip


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_have_known_values(name):
    parts, factors = np.array([*POINTS[name].items()], float).T
    np.testing.assert_allclose(SCHEDULES[name](parts), factors, rtol=1e-12, atol=1e-12)


# --- update rules -----------------------------------------------------------------

# rule, its constants, moments of its own, decay
RULES = {
    "sgd": (codes.SGD, (0.0, 0.0, 0.0), 0, 0.0),
    "adam": (codes.ADAM, (0.9, 0.999, 1e-8), 2, 0.0),
    "adamw": (codes.ADAM, (0.9, 0.999, 1e-8), 2, 0.01),
    "adagrad": (codes.ADAGRAD, (1e-10, 0.0, 0.0), 1, 0.0),
    "rmsprop": (codes.RMSPROP, (0.9, 1e-8, 0.0), 1, 0.0),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_rules_pass_their_constants_to_kernels(name):
    rule, constants, moments, decay = RULES[name]
    optimizer = OPTIMIZERS[name](0.5, clip_norm=2.0, ema=0.75)
    given = optimizer.for_kernels()
    assert (given.code, given.decay, optimizer.n_moments) == (rule, decay, moments + 1)
    np.testing.assert_array_equal(given.constants, [[*constants, 2.0, 0.0, 0.75, 1.0]])
    clipped = OPTIMIZERS[name](clip_value=3.0).for_kernels()
    np.testing.assert_array_equal(clipped.constants, [[*constants, 0.0, 3.0, 0.0, 1.0]])
    plain = OPTIMIZERS[name]()
    assert plain.n_moments == moments
    np.testing.assert_array_equal(plain.for_kernels().constants[0, 3:], [0.0, 0.0, 0.0, 1.0])
    assert optimizer_from_dict(optimizer.to_dict()) == optimizer
    assert get_optimizer(name) == plain
    assert get_optimizer(optimizer) is optimizer


def test_number_of_moments_of_sgd():
    optimizer = fastnn.SGD(0.5, momentum=0.5, nesterov=True)
    assert optimizer.n_moments == 1
    np.testing.assert_array_equal(optimizer.for_kernels().constants[0, :3], [0.5, 1.0, 0.0])


BAD = [
    *((name, {"learning_rate": value}) for name in OPTIMIZERS for value in (0.0, math.inf, "x")),
    *((name, {"ema": 1.0}) for name in OPTIMIZERS),
    *((name, {"clip_norm": 0.0}) for name in OPTIMIZERS),
    *((name, {"clip_value": -1.0}) for name in OPTIMIZERS),
    *((name, {"epsilon": 0.0}) for name in ("adam", "adamw", "adagrad", "rmsprop")),
    *((name, {each: 1.0}) for name in ("adam", "adamw") for each in ("beta_1", "beta_2")),
    *(("sgd", {"momentum": value}) for value in (-0.1, 1.0)),
    ("adamw", {"weight_decay": -1.0}),
    ("adamw", {"weight_decay": math.inf}),
    ("rmsprop", {"rho": 1.0}),
    *(("lm", {each: 0.0}) for each in ("damping", "max_damping", "decrease")),
    *(("lm", {each: -1.0}) for each in ("min_gradient", "goal")),
    *(("lm", {each: 1.0}) for each in ("decrease", "increase")),
]


def test_both_kinds_of_clipping_raise():
    with pytest.raises(ValueError, match=r"^give clip_norm or clip_value, not both; got 2"):
        fastnn.SGD(clip_norm=2, clip_value=3)


@pytest.mark.parametrize(("name", "settings"), BAD)
def test_settings_out_of_bounds_raise(name, settings):
    ((field, value),) = settings.items()
    make = {**OPTIMIZERS, "lm": LevenbergMarquardt}[name]
    with pytest.raises(ValueError, match=rf"^{field} must be a number in .*; got {value!r}$"):
        make(**settings)
    with pytest.raises(ValueError, match=f"^{field} must be a number in"):
        optimizer_from_dict({"name": name, **settings})


def test_settings_at_their_bounds_are_valid():
    """What is included is taken."""
    assert fastnn.SGD(momentum=0.0).n_moments == 0
    assert fastnn.AdamW(weight_decay=0.0, beta_1=0.0, beta_2=0.0).decay == 0.0
    lm = LevenbergMarquardt(damping=2, max_damping=2, min_gradient=0, goal=0, increase=1.5)
    assert (lm.n_moments, lm.is_bayesian) == (1, False)
    lm = LevenbergMarquardt(regularization="bayesian")
    assert (lm.n_moments, lm.is_bayesian) == (3, True)


def test_optimizers_by_name():
    assert get_optimizer(None) == Adam()
    assert get_optimizer("lm", whole_fit=True) == LevenbergMarquardt()
    for lm in ("lm", LevenbergMarquardt()):
        with pytest.raises(ValueError, match=r"trains on all data at once: it is for Network\.fit"):
            get_optimizer(lm)
    for unknown in ("momentum", 3, ["sgd"], Adam):
        with pytest.raises(ValueError, match=r"^optimizer must be one of sgd, adam, .*rmsprop or"):
            get_optimizer(unknown)
    with pytest.raises(ValueError, match="rmsprop, lm or an object such as"):
        get_optimizer("momentum", whole_fit=True)
    for fields in ({"name": "momentum"}, {"name": ["sgd"]}, {}):
        with pytest.raises(ValueError, match=r"^the optimizer must be one of sgd, .*rmsprop, lm"):
            optimizer_from_dict(fields)
    with pytest.raises(ValueError, match=r"^the optimizer sgd: .*'rho'"):
        optimizer_from_dict({"name": "sgd", "rho": 0.5})


# --- the state of a training ------------------------------------------------------


def test_record_counts_finite_losses():
    losses = np.array([1.0, 2.0, np.nan, np.nan])
    assert Record(losses=losses).done == 2
    assert Record(losses=losses[:2]).done == 2
    assert Record(losses=losses[2:]).done == 0
    assert Record().done == 0


def test_counters():
    state = TrainingState()
    assert (state.updates, state.epochs, state.steps, state.seed) == (0, 0, 0, 0)
    state.record = Record(updates=7, epochs=3)
    state.start_run(2)
    for count in (3, 2):
        losses = np.empty(count)
        state.start_chunk(losses)
        assert np.isnan(losses).all()
        losses[:] = 1.0
    # a chunk that is not closed counts, and so does the next one's start
    assert (state.updates, state.steps, state.epochs) == (12, 5, 5)
    state.end_chunk()
    assert state.record == Record(12, 3, 5, 2, state.record.losses)
    assert (state.updates, state.steps, state.epochs) == (12, 5, 5)
    state.count_update(state.updates + 1)
    assert (state.updates, state.steps, state.epochs) == (13, 0, 5)
    state.count_update(state.updates + 1)  # outside of a run epochs stay
    assert (state.updates, state.epochs) == (14, 5)
    state.epochs = 40
    assert (state.updates, state.epochs) == (14, 40)
    state.start_run(3, epochs=1, steps=4)
    assert (state.updates, state.steps, state.epochs) == (14, 4, 2)


def test_count_update_with_pending_losses():
    """Of the first chunk of a run, when no step is in the record yet."""
    state = TrainingState(record=Record(2, 1))
    state.start_run(2)
    losses = np.empty(2)
    state.start_chunk(losses)
    losses[:] = 1.0
    state.count_update(state.updates + 1)
    assert (state.updates, state.epochs) == (5, 2)


def test_shared_counter_follows_updates():
    state = TrainingState(record=Record(updates=3))
    counter = state.shared_counter()
    assert state.shared_counter() is counter
    assert counter.tolist() == [3]
    counter[0] = 5  # compiled code has done two
    assert state.updates == 5
    state.count_update(state.updates + 1)
    assert (counter.tolist(), state.updates) == ([6], 6)
    state.show_count(valid=False)
    assert (counter.tolist(), state.counter) == ([-1], None)
    assert state.updates == 6
    state.show_count()  # nobody looks
    assert counter.tolist() == [-1]


def test_resuming_invalidates_the_shared_counter():
    params = np.zeros(3)
    state = TrainingState()
    state.begin(Adam(ema=0.5), params)
    fields, moments, _ = state.to_dict(params)
    other = TrainingState()
    counter = other.shared_counter()
    other.resume({**fields, "updates": 4, "epochs": 2, "seed": 9}, moments, params)
    assert (counter.tolist(), other.counter) == ([-1], None)
    assert (other.updates, other.epochs, other.seed) == (4, 2, 9)


@pytest.mark.parametrize("second", [fastnn.SGD(0.1, ema=0.5), fastnn.Adam(0.3, ema=0.25)])
def test_another_rule_starts_with_new_moments(second):
    """As of a network that has the same parameters and was never trained."""
    net = fastnn.Network([2, 3, 2], backend="numpy", random_state=0, dtype="float64")
    net.fit(X, Y, epochs=3, optimizer=fastnn.Adam(0.1, ema=0.5))
    other = fastnn.Network([2, 3, 2], backend="numpy", random_state=0, dtype="float64")
    other.params = net.params
    for each in (net, other):
        each.fit(X, Y, epochs=3, optimizer=second, batch_size=None)
    assert_bits(net.params, other.params)
    assert (net.state.updates, net.n_epochs_) == (3, 6)


def test_training_continues_from_changed_average(tmp_path):
    """Of a network out of a file as of the one that was saved."""
    rule = fastnn.Adam(0.1, ema=0.5)
    net = fastnn.Network([2, 3, 2], backend="numpy", random_state=0)
    net.fit(X, Y, epochs=3, optimizer=rule)
    net.save(tmp_path / "m", include_optimizer=True)
    loaded = fastnn.load(tmp_path / "m", backend="numpy")
    for each in (net, loaded):
        each.params[:3] = 0.5
        each.fit(X, Y, epochs=2, optimizer=rule)
    assert_bits(net.params, loaded.params)
    # and the training does begin at what they were set to
    state = TrainingState()
    params = np.zeros(2)
    state.begin(rule, params)
    state.record = Record(updates=1)
    state.end(params)
    params[:] = 3.0
    state.begin(rule, params)
    np.testing.assert_array_equal(state.moments[-1], [3.0, 3.0])
    assert (params.tolist(), state.averaged, state.left) == ([3.0, 3.0], False, None)


def test_interrupted_exchange_is_completed():
    """Parameters and average are written as had been noted, before anything else."""
    state, params = TrainingState(), np.array([1.0, 2.0])
    state.begin(fastnn.SGD(ema=0.5), params)
    state.record = Record(updates=1)
    state.exchange = np.array([3.0, 4.0]), np.array([5.0, 6.0]), True
    state.show_average(params, True)  # what was noted is what is asked for
    assert (params.tolist(), state.moments[-1].tolist()) == ([5.0, 6.0], [3.0, 4.0])
    assert (state.averaged, state.exchange) == (True, None)
    with state.average(params):
        assert params.tolist() == [5.0, 6.0]
    assert (params.tolist(), state.averaged) == ([3.0, 4.0], False)


@pytest.mark.parametrize("with_moments", [True, False])
def test_snapshot_restores_state(with_moments):
    state, params = TrainingState(), np.array([1.0, 2.0])
    state.begin(Adam(), params)
    snapshot = Snapshot(params, state, with_moments)
    state.record = Record(updates=5, epochs=2)
    state.moments[:] = 0.5
    counter = state.shared_counter()
    assert (snapshot.has_moments, snapshot.fits) == (with_moments, True)
    snapshot.take()
    params[:], state.moments[:], state.record = np.nan, np.nan, Record(9, 3)
    snapshot.restore()
    assert params.tolist() == [1.0, 2.0]
    assert np.unique(state.moments).tolist() == [0.5 if with_moments else 0.0]
    assert state.record[:2] == (5 if with_moments else 0, 2)
    assert counter[0] == state.record.updates
    state.begin(fastnn.SGD(), params)  # other moments
    assert snapshot.fits is not with_moments


def test_read_only_moments_are_copied():
    """As ``joblib.load(mmap_mode="r")`` gives them: training goes on with a copy."""
    state, params = TrainingState(), np.zeros(3)
    state.begin(Adam(), params)
    state.moments = np.full((2, 3), 0.5)
    state.moments.flags.writeable = False
    state.begin(Adam(), params)
    assert state.moments.flags.writeable
    np.testing.assert_array_equal(state.moments, np.full((2, 3), 0.5))


def test_untrained_state_has_no_optimizer():
    state = TrainingState()
    assert not state.has_average
    assert not state.is_continued_without
    state.epochs = 1
    assert state.is_continued_without
    with pytest.raises(AssertionError, match="no training has begun"):
        _ = state.in_use
