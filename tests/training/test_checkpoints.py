"""A training that was stopped and resumed has the bits of one that was not."""

import dataclasses
import itertools
from datetime import timedelta

import numpy as np
import pytest
from helpers import assert_bits, fixed_rng, load_backend

import fastnn
from fastnn.backends.tuning import tuned
from fastnn.storage import checkpoints as checkpoint_files
from fastnn.storage.checkpoints import read_checkpoint
from fastnn.training.checkpoints import Checkpoints, SaveInterval
from fastnn.training.history import EarlyStopping
from fastnn.training.run import FitRun

EPOCHS = 12
# One draw, for which early stopping has its best epoch before that of the checkpoints.
rng = fixed_rng(0)
X = rng.standard_normal((300, 6))
Y = (X[:, 0] * X[:, 1] > 0).astype(int)
SPARSE = np.where(rng.random((300, 70)) < 0.1, rng.random((300, 70)), 0.0)
WEIGHTS = rng.uniform(0.5, 2.0, 300)

RULES = {
    "sgd": fastnn.SGD(0.2),
    "momentum": fastnn.SGD(0.1, momentum=0.9),
    "nesterov": fastnn.SGD(0.1, momentum=0.9, nesterov=True),
    "adam": fastnn.Adam(0.02),
    "adamw": fastnn.AdamW(0.02, weight_decay=0.1),
    "adagrad": fastnn.AdaGrad(0.05),
    "rmsprop": fastnn.RMSprop(0.01),
}
# arguments of the network, of the update rule, of fit
KINDS = {
    "plain": ({}, {}, {}),
    "ordered": ({"dtype": "float64"}, {}, {"shuffle": False}),
    "dropout": ({"dropout": 0.3, "standardize": True}, {}, {}),
    "average": ({"dropout": 0.1}, {"ema": 0.8, "clip_norm": 0.5}, {"validation_fraction": 0.2}),
    "clipped": ({"l2": 1e-2}, {"clip_value": 0.01}, {"sample_weight": WEIGHTS}),
    "sparse": ({}, {}, {}),
    "full batch": ({"standardize": True}, {"ema": 0.9}, {"batch_size": None}),
    "early": (
        {"dtype": "float64"},
        {"ema": 0.5},
        {"validation_fraction": 0.3, "early_stopping": EarlyStopping(2, 1e-2)},
    ),
}
TEAMS = [("numpy", 1), *itertools.product(("numba", "cython"), (1, 2))]
ALL = list(itertools.product(TEAMS, RULES, KINDS))
assert len(ALL) >= 240
# every rule, kind and team, in other company each time
SHORT = [
    (TEAMS[k % 5], list(RULES)[(k + k // 8) % 7], kind)
    for k, kind in enumerate(itertools.islice(itertools.cycle(KINDS), 24))
]


def small_blocks():
    """Context in which small batches have work for two threads."""
    return tuned(second_thread_work=1, work_per_thread=1, max_block=64)


class Case:
    """A training that can be begun again and again."""

    def __init__(self, team, rule, kind):
        self.backend, self.n_threads = team
        load_backend(self.backend)
        net, of_rule, fit = KINDS[kind]
        self.X = SPARSE if kind == "sparse" else X
        self.settings = {"activation": "tanh", **net}
        rule = dataclasses.replace(RULES[rule], **of_rule)
        self.fit = {"optimizer": rule, "epochs": EPOCHS, "batch_size": 80, **fit}

    def train(self, seed=None, **more):
        net = fastnn.Network(
            [self.X.shape[1], 16, 2],
            backend=self.backend,
            n_threads=self.n_threads,
            random_state=seed,
            **self.settings,
        )
        return net, net.fit(self.X, Y, **{**self.fit, **more})


def assert_same_training(one, other):
    """Networks and histories with the same bits, times apart."""
    (net, history), (whole, expected) = one, other
    assert_bits(net.params, whole.params)
    assert_bits(net.state.moments, whole.state.moments)
    for name in ("updates", "epochs", "seed", "averaged"):
        assert getattr(net.state, name) == getattr(whole.state, name), name
    if whole.state.left is not None:
        assert_bits(net.state.left, whole.state.left)
    for name, array in whole.arrays().items():
        assert_bits(net.arrays()[name], array)
    for name in ("loss", "validation_loss", "validation_score"):
        if getattr(expected, name) is not None:
            assert_bits(getattr(history, name), getattr(expected, name))
    for name in ("steps", "stopped", "best_epoch"):
        assert getattr(history, name) == getattr(expected, name), name


def stopped_and_resumed(case, path, stops, monkeypatch, seed=3):
    """Train to each of the stops (steps), each time with a new network; then to the end."""
    stops = iter([*sorted(stops), 10**9])
    stop = None

    def max_steps(run):
        own = run.total if run.validation is None else run.batches - run.step % run.batches
        return max(1, min(own, stop - run.step))

    def is_reached(progress):
        return progress.step >= stop

    monkeypatch.setattr(FitRun, "max_steps", max_steps)
    for stop in stops:  # noqa: B007, read by the functions
        trained = case.train(seed, checkpoint=path, resume=True, callbacks=[is_reached])
        seed = None  # the checkpoint has it
        if trained[1].stopped != "callback":
            return trained
    raise AssertionError


def check(case, path, monkeypatch, each, n_random, number):
    """Stop after every ``each`` epochs, and at random steps."""
    with small_blocks():
        whole = case.train(3)
        steps = whole[1].steps
        numbers = np.random.default_rng(number)
        every = range(steps // EPOCHS, steps, max(1, each * steps // EPOCHS))
        stops = {*every, *numbers.integers(1, max(steps, 2), n_random).tolist()}
        assert_same_training(stopped_and_resumed(case, path, stops, monkeypatch), whole)


@pytest.mark.parametrize("case", SHORT, ids=str)
def test_resumed_training_has_the_same_bits(case, tmp_path, monkeypatch):
    check(Case(*case), tmp_path / "c", monkeypatch, 4, 2, SHORT.index(case))


@pytest.mark.slow
@pytest.mark.parametrize("case", ALL, ids=str)
def test_resumed_training_has_the_same_bits_in_all_cases(case, tmp_path, monkeypatch):
    check(Case(*case), tmp_path / "c", monkeypatch, 1, 12, ALL.index(case))


def test_case_grid_covers_each_value(monkeypatch):
    """Two threads take part, sparse rows are used, early stopping comes before the last epoch."""
    used = []
    monkeypatch.setattr(
        "fastnn.network.fitting.FitRun.__init__",
        lambda self, *arguments, init=FitRun.__init__, **settings: (
            used.append(arguments[4][0]),
            init(self, *arguments, **settings),
        )[1],
    )
    with small_blocks():
        Case(("numba", 2), "sgd", "plain").train(3)
        Case(("numba", 1), "sgd", "sparse").train(3)
        _, history = Case(("numba", 1), "adam", "early").train(3)
    assert used[0].n_threads == 2
    assert len(used[1].data.indptr)
    assert (history.stopped, history.epochs < EPOCHS) == ("early stopping", True)


def test_interrupted_training_resumes(tmp_path, backend):
    """Ctrl-C between any two chunks: the checkpoint is of the step that ``fit`` left."""
    case = Case((backend, 1), "adam", "average")
    whole, calls = case.train(3), itertools.count()

    def interrupt(progress):
        if next(calls) % 5 == 4:
            raise KeyboardInterrupt

    arguments = {"checkpoint": tmp_path / "c", "resume": True, "callbacks": [interrupt]}
    for _ in range(50):
        net, history = case.train(3, **arguments)
        kept = read_checkpoint(tmp_path / "c", backend)
        assert kept.position.steps == history.steps
        if history.stopped != "interrupted":
            break
        assert_bits(kept.model.params, net.params)
    assert_same_training((net, history), whole)


def test_interrupt_during_validation_resumes(tmp_path, monkeypatch):
    """The epoch is validated when the training goes on; until then the history has NaN."""
    case = Case(("numpy", 1), "adam", "early")
    whole = case.train(3)
    validate, calls = FitRun._validate, itertools.count()

    def interrupted(run):
        if next(calls) == 2:
            raise KeyboardInterrupt
        return validate(run)

    monkeypatch.setattr(FitRun, "_validate", interrupted)
    _, history = case.train(3, checkpoint=tmp_path / "c")
    assert history.stopped == "interrupted"
    assert np.isnan(history.validation_loss).tolist() == [False, False, True]
    assert_same_training(case.train(checkpoint=tmp_path / "c", resume=True), whole)


def test_checkpoint_is_a_model_file(tmp_path):
    """It predicts as the network of its step would, and may be trained on without ``resume``."""
    case, path = Case(("numpy", 1), "adam", "average"), tmp_path / "c"
    net, _ = case.train(3, epochs=4, checkpoint=path)
    again = fastnn.load(path, backend="numpy")
    assert_bits(again.predict_proba(X), net.predict_proba(X))
    assert again.n_epochs_ == 4
    # resume=PATH writes nothing, and more epochs are another matter than other settings
    before = path.read_bytes()
    assert_same_training(case.train(resume=path), case.train(3))
    assert path.read_bytes() == before
    # without a file, resume=True begins
    assert_same_training(
        case.train(3, checkpoint=tmp_path / "new" / "c", resume=True), case.train(3)
    )
    # one that has ended does nothing more
    net, history = case.train(checkpoint=tmp_path / "new" / "c", resume=True)
    assert_same_training((net, history), case.train(3))


def test_checkpoint_of_a_second_fit(tmp_path):
    """Epochs count from the start of the training that is resumed, ``n_epochs_`` from the first."""
    case = Case(("numpy", 1), "momentum", "dropout")
    nets = []
    for last in ({"epochs": 6}, {"epochs": 2, "checkpoint": tmp_path / "c"}):
        net, _ = case.train(3, epochs=3)
        net.fit(X, Y, **{**case.fit, **last})
        nets.append(net)
    net, history = case.train(epochs=6, resume=tmp_path / "c")
    assert (net.n_epochs_, history.epochs) == (9, 6)
    assert_bits(net.params, nets[0].params)


@pytest.mark.parametrize(("every", "written"), [(1, 6), (4, 2), (timedelta(days=1), 1), (None, 1)])
def test_checkpoints_are_written_at_the_interval(tmp_path, monkeypatch, every, written):
    steps = []
    write = checkpoint_files.write_contents

    def record(path, fields, arrays):
        steps.append(fields["run"]["steps"])
        write(path, fields, arrays)

    monkeypatch.setattr(checkpoint_files, "write_contents", record)
    case = Case(("numpy", 1), "sgd", "plain")
    case.train(3, epochs=5, checkpoint=tmp_path / "c", checkpoint_every=every)
    # the last one is that of the end
    expected = {1: [4, 8, 12, 16, 20, 20], 4: [16, 20]}.get(every, [20])
    assert steps == expected
    assert len(steps) == written


def test_checkpoint_interval_in_seconds(tmp_path, monkeypatch):
    now = itertools.count()
    monkeypatch.setattr("fastnn.training.checkpoints.time.perf_counter", lambda: next(now))
    saved = []
    every = SaveInterval.of(timedelta(seconds=3))
    checkpoints = Checkpoints(every, lambda point: point, saved.append)
    assert [checkpoints.is_due(k, 1) for k in range(4)] == [False, False, True, True]


# --- what differs is named ---------------------------------------------------------


@pytest.mark.parametrize(
    ("net", "fit", "match"),
    [
        ({"l2": 0.1}, {}, r"another training: l2 was 0\.0, is 0\.1$"),
        ({"activation": "relu"}, {}, "activation was .'tanh'., is .'relu'."),
        ({"dtype": "float64"}, {}, "dtype was 'float32', is 'float64'"),
        ({}, {"batch_size": 9}, "batch_size was 80, is 9"),
        ({}, {"shuffle": False}, "shuffle was True, is False"),
        ({}, {"optimizer": fastnn.Adam(0.03)}, r"learning_rate was 0\.02, is 0\.03"),
        ({}, {"optimizer": fastnn.SGD(0.02)}, "name was 'adam', is 'sgd'"),
        ({}, {"validation_fraction": 0.5}, r"validation_fraction was 0\.0, is 0\.5"),
        ({}, {"early_stopping": True, "validation_data": (X, Y)}, "early_stopping was None, is"),
        ({}, {"sample_weight": WEIGHTS}, "another training: sample_weight is not the same$"),
        ({}, {"validation_data": (X, Y)}, "another training: validation data is not the same$"),
        ({}, {"epochs": 1}, "epochs=1, but .* has 2 epochs already"),
    ],
)
def test_changed_settings_raise_on_resume(tmp_path, net, fit, match):
    case = Case(("numpy", 1), "adam", "plain")
    case.train(3, epochs=2, checkpoint=tmp_path / "c")
    case.settings |= net
    untouched = fastnn.Network([6, 16, 2], backend="numpy", random_state=1, **case.settings)
    before = untouched.params.copy()
    with pytest.raises(ValueError, match=match):
        untouched.fit(X, Y, **{**case.fit, **fit}, resume=tmp_path / "c")
    assert_bits(untouched.params, before)


def test_changed_data_raise_on_resume(tmp_path):
    case = Case(("numpy", 1), "adam", "plain")
    case.train(3, epochs=2, checkpoint=tmp_path / "c")
    net = fastnn.Network([6, 16, 2], activation="tanh", backend="numpy")
    changed, labels = X.copy(), Y.copy()
    changed[-1, -1] = np.nextafter(np.float32(changed[-1, -1]), np.float32(9))
    labels[0] = 1 - labels[0]
    for data, match in (((changed, Y), ": X is not the same$"), ((X, labels), ": y is not the")):
        with pytest.raises(ValueError, match=match):
            net.fit(*data, **case.fit, resume=tmp_path / "c")
    with pytest.raises(ValueError, match=r"classes was \[0, 1\], is \['a', 'b'\]"):
        net.fit(X, np.array(["a", "b"])[Y], **case.fit, resume=tmp_path / "c")


def test_changed_backend_raises_on_resume(tmp_path):
    load_backend("cython")
    Case(("numpy", 1), "adam", "plain").train(3, epochs=2, checkpoint=tmp_path / "c")
    with pytest.raises(ValueError, match="backend was 'numpy', is 'cython'"):
        Case(("cython", 1), "adam", "plain").train(3, resume=tmp_path / "c")


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"checkpoint_every": 2}, ValueError, "checkpoint_every needs checkpoint"),
        ({"resume": True}, ValueError, "resume=True needs checkpoint"),
        ({"resume": 3}, ValueError, "resume must be a bool or a path; got 3"),
        ({"checkpoint": 3}, ValueError, "checkpoint must be a path; got 3"),
        ({"checkpoint": "."}, ValueError, "checkpoint must be a file; . is a folder"),
        ({"resume": "nowhere"}, FileNotFoundError, "nowhere"),
        *(
            ({"checkpoint": "c", "checkpoint_every": every}, ValueError, "checkpoint_every must be")
            for every in (0, -1, 2.5, "5", True, timedelta(0))
        ),
    ],
)
def test_invalid_arguments_raise(tmp_path, monkeypatch, arguments, error, match):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=match):
        Case(("numpy", 1), "sgd", "plain").train(3, **arguments)
    assert list(tmp_path.iterdir()) == []


def test_unsavable_settings_raise_before_training(tmp_path):
    load_backend("numba")
    activation = fastnn.CustomActivation(lambda z: z, lambda z: 1.0)
    net = fastnn.Network([6, 3, 2], activation=activation, random_state=0)
    with pytest.raises(ValueError, match="is code and cannot be stored"):
        net.fit(X, Y, epochs=2, checkpoint=tmp_path / "c")
    labels = np.array([1, "a"], object)[Y]
    net = fastnn.Network([6, 3, 2], random_state=0)
    with pytest.raises((ValueError, TypeError)):
        net.fit(X, labels, epochs=2, checkpoint=tmp_path / "c")
    assert net.n_epochs_ == 0


def test_model_file_without_run_raises_on_resume(tmp_path):
    case = Case(("numpy", 1), "adam", "plain")
    net, _ = case.train(3, epochs=2)
    net.save(tmp_path / "m", include_optimizer=True)
    with pytest.raises(fastnn.ModelFormatError, match="a model, not a checkpoint"):
        case.train(resume=tmp_path / "m")
    (tmp_path / "m").write_bytes(b"no file")
    with pytest.raises(fastnn.ModelFormatError, match="not a model file"):
        case.train(resume=tmp_path / "m")


def test_fit_many_raises_for_checkpoints_per_network(tmp_path):
    """The call has a folder for all of them."""
    with pytest.raises(TypeError, match="'checkpoint' is not an argument"):
        fastnn.fit_many([fastnn.Fit(fastnn.Network([6, 2]), checkpoint=tmp_path / "c")], X, Y)
