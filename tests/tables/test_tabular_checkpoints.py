"""Checkpoints of the estimators of tables: a resumed training has the bits of a whole one."""

import numpy as np
import pytest
from helpers import assert_bits

import fastnn
from fastnn.storage import checkpoints as files
from fastnn.tables import realmlp, realmlp_training

rng = np.random.default_rng(0)
X = rng.normal(size=(700, 4))
LABELS = (X[:, 0] + X[:, 1] ** 2 > 0.5).astype(int)
SPARSE = np.where(rng.uniform(size=(700, 40)) < 0.95, 0.0, rng.normal(size=(700, 40)))
EPOCHS = 4  # of two steps, or of three


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(realmlp, "HIDDEN", (8, 6))


def classifier(**options):
    return fastnn.TabularClassifier(n_epochs=EPOCHS, random_state=3, backend="numpy", **options)


def regressor(**options):
    options = {"random_state": 3, "backend": "numpy", **options}
    return fastnn.TabularRegressor(n_epochs=EPOCHS, **options)


CASES = {
    "classes": (classifier, X, LABELS, {}),
    "Cython": (lambda: regressor(backend="cython"), X, X[:, :2], {}),
    "two outputs": (lambda: regressor(loss="gaussian"), X, X[:, 0] ** 2, {}),
    "nothing held out": (lambda: regressor(validation_fraction=0.0), X, X[:, 0] ** 2, {}),
    "by the loss": (lambda: classifier(eval_metric="cross_entropy"), X, LABELS, {}),
    "weights": (classifier, X, LABELS, {"sample_weight": np.arange(700) % 3}),
    "sparse": (classifier, SPARSE, LABELS, {}),
    "float64": (lambda: regressor(dtype="float64"), X, X[:, 0] ** 2, {}),
}
WHOLE = {}


def whole(case):
    """The model of a training that nothing stops."""
    if case not in WHOLE:
        make, x, y, options = CASES[case]
        WHOLE[case] = make().fit(x, y, **options)
    return WHOLE[case]


def stop_at(monkeypatch, step):
    """Have Ctrl-C come when so many steps are done."""
    usual = realmlp_training.RealMLPRun.after_chunk

    def after_chunk(self, losses):
        if self.step >= step:
            raise KeyboardInterrupt
        usual(self, losses)

    monkeypatch.setattr(realmlp_training.RealMLPRun, "max_steps", lambda self: 1)
    monkeypatch.setattr(realmlp_training.RealMLPRun, "after_chunk", after_chunk)


def assert_equal(model, other):
    for one, two in zip(model.networks_, other.networks_, strict=True):
        assert_bits(one.params, two.params)
    for name in ("loss_curves_", "validation_curves_", "best_iter_", "n_iter_", "stopped_"):
        assert getattr(model, name) == getattr(other, name)


@pytest.mark.parametrize("step", [3, 4])  # within an epoch, and between its end and its score
@pytest.mark.parametrize("case", CASES)
def test_a_training_that_goes_on(case, step, tmp_path, monkeypatch):
    make, x, y, options = CASES[case]
    if case == "Cython":
        pytest.importorskip("fastnn.backends.cython")
    kept = {"checkpoint": tmp_path / "m", "resume": True, **options}
    with monkeypatch.context() as stopped:
        stop_at(stopped, step)
        with pytest.warns(UserWarning, match="interrupted by user"):
            assert make().fit(x, y, **kept).stopped_ == "interrupted"
    assert files.read_checkpoint(tmp_path / "m", "numpy").position.steps == step
    assert_equal(make().fit(x, y, **kept), whole(case))
    assert_equal(make().fit(x, y, **kept), whole(case))  # nothing is left to do


def test_each_member_has_a_file(tmp_path, monkeypatch):
    def make():
        return classifier(n_members=3)

    expected = make().fit(X, LABELS)
    with monkeypatch.context() as stopped:
        stopped.setattr(
            realmlp_training.RealMLPRun, "finished", lambda self: None
        )  # as if it were killed
        stopped.setattr(realmlp_training.RealMLPRun, "max_steps", lambda self: 1)
        make().fit(X, LABELS, checkpoint=tmp_path / "m.ck", checkpoint_every=3)
    names = ["m-1.ck", "m-2.ck", "m.ck"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    steps = [files.read_checkpoint(tmp_path / name, "numpy").position.steps for name in names]
    assert steps == [6, 6, 6]  # two of each epoch
    (tmp_path / "m-2.ck").unlink()  # of one that had not begun
    assert_equal(make().fit(X, LABELS, checkpoint=tmp_path / "m.ck", resume=True), expected)


@pytest.mark.parametrize("field", ["front", "moments", "best", "losses", "steps"])
def test_each_field_counts(field, tmp_path, monkeypatch):
    """What a checkpoint has is needed: without it the result is another."""
    kept = {"checkpoint": tmp_path / "m", "resume": True}
    with monkeypatch.context() as stopped:
        stop_at(stopped, 5)
        with pytest.warns(UserWarning, match="interrupted"):
            classifier().fit(X, LABELS, **kept)
    usual = files.read_checkpoint

    def without(path, backend):
        found = usual(path, backend)
        position = found.position
        if field == "front":
            position.front[:, -3] = 1.0
        elif field == "moments":
            found.model.state.moments[:] = 0.0
        elif field == "best":
            position.best.params[:] = 0.0
            position.best.loss = 0.0
        elif field == "losses":
            position.losses[:] = 0.0
        else:
            position.steps -= 1
        return found

    monkeypatch.setattr(files, "read_checkpoint", without)
    other, expected = classifier().fit(X, LABELS, **kept), whole("classes")
    same = np.array_equal(other.network_.params, expected.network_.params)
    assert not (same and other.loss_curves_ == expected.loss_curves_)


def test_arguments(tmp_path):
    path = tmp_path / "m"
    with pytest.raises(ValueError, match="checkpoint_every needs checkpoint, the file to write"):
        classifier().fit(X, LABELS, checkpoint_every=2)
    with pytest.raises(ValueError, match="resume needs checkpoint"):
        classifier().fit(X, LABELS, resume=True)
    with pytest.raises(ValueError, match="resume must be a bool; got 'm'"):
        classifier().fit(X, LABELS, checkpoint=path, resume="m")
    with pytest.raises(ValueError, match="checkpoint_every must be a whole number of epochs"):
        classifier().fit(X, LABELS, checkpoint=path, checkpoint_every=0)
    with pytest.raises(ValueError, match=r"need time_limit=None: .*; got 60"):
        classifier(time_limit=60).fit(X, LABELS, checkpoint=path)
    with pytest.raises(ValueError, match="need random_state, a number"):
        regressor(random_state=None).fit(X, X[:, 0] ** 2, checkpoint=path)
    assert list(tmp_path.iterdir()) == []
    classifier().fit(X, LABELS, checkpoint=path)
    for model, x, reason in (
        (classifier().set_params(n_epochs=9), X, "n_epochs was 4, is 9"),
        (classifier(), X[:, ::-1], "X is not the same"),
        (classifier(eval_metric="cross_entropy"), X, r"label_smoothing was 0\.1, is 0\.0"),
    ):
        with pytest.raises(ValueError, match=f"a checkpoint of another training: .*{reason}"):
            model.fit(x, LABELS, checkpoint=path, resume=True)
    net = fastnn.Network([4, 2], backend="numpy", random_state=0)
    net.fit(X, LABELS, checkpoint=path)
    with pytest.raises(ValueError, match="a checkpoint of another training"):
        classifier().fit(X, LABELS, checkpoint=path, resume=True)
