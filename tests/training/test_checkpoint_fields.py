"""Every field and array of a checkpoint changes the training that is resumed."""

import pytest
from helpers import fixed_rng, load_backend
from model_files import with_value, with_zeros, without
from test_checkpoints import X, assert_same_training

import fastnn
from fastnn.training.history import EarlyStopping

RUN = [
    *("settings", "data", "first_epoch", "steps", "batches", "seconds", "is_over", "n_losses"),
    *("n_validated", "best_epoch", "best_loss"),
]
ARRAYS = ["params", "moments", "losses", "validation", "best_params"]
SCALES = ["input_shift", "input_scale", "target_shift", "target_scale"]


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A checkpoint with everything in it, how to go on from it, and what that gives."""
    load_backend("cython")
    path = tmp_path_factory.mktemp("kept") / "c"
    values = 100 + 5 * fixed_rng(3).standard_normal(50)  # to be overfitted at once
    stopping = EarlyStopping(4)
    rule = fastnn.Adam(0.1, ema=0.5)

    def train(epochs, **more):
        net = fastnn.Network(
            [6, 5, 1], loss="squared_error", dropout=0.2, standardize=True, dtype="float64",
            backend="cython", random_state=1,
        )  # fmt: skip
        history = net.fit(
            X[:50], values, optimizer=rule, epochs=epochs, batch_size=8, validation_fraction=0.3,
            early_stopping=stopping, **more,
        )  # fmt: skip
        return net, history

    train(3, checkpoint=path)
    whole = train(9)
    best = whole[1].best_epoch
    assert best < 3, "the best epoch is one of the checkpoint"
    assert whole[1].stopped == "early stopping"
    return path, train, whole


def differs(path, train, whole):
    """Whether the training that goes on is another one, or an error."""
    try:
        trained = train(9, resume=path)
    except (fastnn.ModelFormatError, ValueError, fastnn.DivergenceError):
        return True
    try:
        assert_same_training(trained, whole)
    except AssertionError:
        return True
    return trained[1].seconds < 1000 or trained[1].seconds > 2000


def test_complete_checkpoint_restores_everything(kept):
    path, train, whole = kept
    assert_same_training(train(9, resume=path), whole)
    with_value(path, "run.seconds", lambda value: 1000.0)
    assert not differs(path, train, whole)


@pytest.mark.parametrize(
    "name",
    [*(f"run.{name}" for name in RUN),
     *(f"training_state.{name}" for name in ("rule", "updates", "epochs", "seed")),
     "run", "training_state", "config.n_epochs", "config.seed"],
)  # fmt: skip
def test_missing_field_changes_the_result(kept, tmp_path, name):
    path, train, whole = kept
    copy = tmp_path / "c"
    copy.write_bytes(path.read_bytes())
    without(copy, name)
    assert differs(copy, train, whole)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("run.settings", lambda value: {}),
        ("run.data", lambda value: {}),
        ("run.first_epoch", lambda value: value + 1),
        ("run.steps", lambda value: value - 1),
        ("run.batches", lambda value: value + 1),
        ("run.seconds", lambda value: 0.0),
        ("run.is_over", lambda value: True),
        ("run.n_losses", lambda value: 0),
        ("run.n_validated", lambda value: value - 1),
        ("run.n_validated", lambda value: None),
        ("run.best_epoch", lambda value: value + 1),
        ("run.best_loss", lambda value: value + 1e9),
        ("training_state.updates", lambda value: value + 1),
        ("training_state.epochs", lambda value: value + 1),
        ("training_state.seed", lambda value: value + 1),
        ("training_state.rule", lambda value: {**value, "learning_rate": 0.2}),
        ("training_state.rule", lambda value: {**value, "ema": 0.6}),
        ("config.n_epochs", lambda value: 0),
        ("config.seed", lambda value: value + 1),
    ],
)
def test_changed_field_changes_the_result(kept, tmp_path, name, change):
    path, train, whole = kept
    copy = tmp_path / "c"
    copy.write_bytes(path.read_bytes())
    with_value(copy, name, change)
    assert differs(copy, train, whole)


@pytest.mark.parametrize("name", [*ARRAYS, *SCALES])
def test_zeroed_array_changes_the_result(kept, tmp_path, name):
    path, train, whole = kept
    copy = tmp_path / "c"
    copy.write_bytes(path.read_bytes())
    with_zeros(copy, name)
    assert differs(copy, train, whole)
