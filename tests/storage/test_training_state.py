"""Training that goes on from a file, from a memory map, or without its state."""

import json
import struct
import warnings

import joblib
import numpy as np
import pytest
from helpers import assert_bits, load_backend

import fastnn
from fastnn import storage

rng = np.random.default_rng(0)
X = rng.standard_normal((60, 3))
Y = (X[:, 0] * X[:, 1] > 0).astype(int)

RULES = {
    "sgd": fastnn.SGD(0.1),
    "momentum": fastnn.SGD(0.1, momentum=0.9, nesterov=True),
    "adam": fastnn.Adam(0.01),
    "adamw": fastnn.AdamW(0.01, weight_decay=0.1, clip_norm=1.0),
    "adagrad": fastnn.AdaGrad(0.05),
    "rmsprop": fastnn.RMSprop(0.01),
    "average": fastnn.Adam(0.01, ema=0.9),
}


def network(dtype="float32", backend="auto"):
    return fastnn.Network(
        [3, 5, 2], dropout=0.2, standardize=True, dtype=dtype, backend=backend, random_state=0
    )


def train(net, rule, epochs, **settings):
    net.fit(X, Y, optimizer=rule, epochs=epochs, batch_size=16, **settings)
    return net


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rule", RULES)
def test_training_continues_from_a_file(tmp_path, rule, dtype):
    rule = RULES[rule]
    whole = train(network(dtype), rule, 10)
    first = train(network(dtype), rule, 5)
    first.save(tmp_path / "m", include_optimizer=True)
    again = fastnn.load(tmp_path / "m")
    np.testing.assert_array_equal(again.predict_proba(X), first.predict_proba(X))
    train(again, rule, 5)
    np.testing.assert_array_equal(again.params, whole.params)
    assert again.n_epochs_ == 10


@pytest.mark.parametrize("backend", ["numpy", "numba", "cython"])
def test_training_state_loads_on_every_backend(tmp_path, backend):
    load_backend(backend)
    rule = RULES["average"]
    whole = train(network(backend=backend), rule, 4)
    train(network(backend=backend), rule, 2).save(tmp_path / "m", include_optimizer=True)
    again = train(fastnn.load(tmp_path / "m", backend=backend), rule, 2)
    np.testing.assert_array_equal(again.params, whole.params)


def test_changed_average_is_saved(tmp_path):
    rule, net = RULES["average"], train(network(), RULES["average"], 3)
    net.params[:] *= 0.5
    net.save(tmp_path / "m", include_optimizer=True)
    again = fastnn.load(tmp_path / "m")
    np.testing.assert_array_equal(train(again, rule, 2).params, train(net, rule, 2).params)


@pytest.mark.parametrize("solver", ["sgd", "adam", "adamw"])
def test_estimators_continue_from_a_file(tmp_path, solver):
    settings = {"solver": solver, "dropout": 0.1, "ema": 0.9, "random_state": 0}
    models = [fastnn.MLPClassifier(5, **settings) for _ in range(2)]
    for model in models:
        for _ in range(3):
            model.partial_fit(X, Y, classes=[0, 1])
    models[1].save(tmp_path / "m", include_optimizer=True)
    models[1] = fastnn.load(tmp_path / "m")
    for model in models:
        for _ in range(3):
            model.partial_fit(X, Y)
    for one, other in zip(models[0].coefs_, models[1].coefs_, strict=True):
        np.testing.assert_array_equal(one, other)


def test_missing_state_warns(tmp_path):
    net = train(network(), RULES["adam"], 5)
    net.save(tmp_path / "m")
    assert storage.describe(tmp_path / "m").training_state is None
    size = (tmp_path / "m").stat().st_size
    with pytest.warns(UserWarning, match="continues after 5 epochs, but adam starts with new mom"):
        train(fastnn.load(tmp_path / "m"), RULES["adam"], 1)
    train(fastnn.load(tmp_path / "m"), RULES["sgd"], 1)  # has no moments
    model = fastnn.MLPClassifier(5, random_state=0).partial_fit(X, Y, classes=[0, 1])
    model.save(tmp_path / "m")
    with pytest.warns(UserWarning, match="continues after 60 samples, but adam starts with new"):
        fastnn.load(tmp_path / "m").partial_fit(X, Y)
    net.save(tmp_path / "m", include_optimizer=True)
    kept = storage.describe(tmp_path / "m").training_state
    assert (kept.rule["name"], kept.updates, kept.epochs) == ("adam", 20, 5)
    moments = 2 * net.n_params * 4
    assert moments <= (tmp_path / "m").stat().st_size - size < moments + 1000


def test_another_rule_starts_with_new_moments(tmp_path):
    train(network(), RULES["adam"], 2).save(tmp_path / "m", include_optimizer=True)
    again = fastnn.load(tmp_path / "m")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # that is how fit has always been
        train(again, RULES["momentum"], 2)
    assert again.state.optimizer == RULES["momentum"]


@pytest.mark.parametrize("rule", ["adam", "average"])
def test_memory_mapped_network_continues(tmp_path, rule):
    rule = RULES[rule]
    net = train(network(), rule, 2)
    joblib.dump(net, tmp_path / "net.joblib")
    mapped = joblib.load(tmp_path / "net.joblib", mmap_mode="r")
    before = (tmp_path / "net.joblib").read_bytes()
    np.testing.assert_array_equal(train(mapped, rule, 3).params, train(net, rule, 3).params)
    assert (tmp_path / "net.joblib").read_bytes() == before


def test_memory_mapped_estimator_continues(tmp_path):
    model = fastnn.MLPClassifier(5, random_state=0, ema=0.9).partial_fit(X, Y, classes=[0, 1])
    joblib.dump(model, tmp_path / "m.joblib")
    mapped = joblib.load(tmp_path / "m.joblib", mmap_mode="r")
    np.testing.assert_array_equal(mapped.predict_proba(X), model.predict_proba(X))
    for each in (model, mapped):
        each.partial_fit(X, Y)
    for one, other in zip(model.coefs_, mapped.coefs_, strict=True):
        np.testing.assert_array_equal(one, other)


def changed(raw, change):
    (length,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + length])
    fields = json.loads(header["__metadata__"]["fastnn"])
    change(fields["training_state"])
    header["__metadata__"]["fastnn"] = json.dumps(fields)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + raw[8 + length :]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda state: state["rule"].update(name="os.system"), "must be one of sgd, adam"),
        (lambda state: state["rule"].update(beta_1=2.0), "beta_1 must be a number"),
        (lambda state: state["rule"].update(more=1), "more"),
        (lambda state: state["rule"].update(ema=0.9), "moments is F32 of shape"),
        (lambda state: state.update(updates=-1), "updates"),
        (lambda state: state.update(seed=2**31), "seed"),
        (lambda state: state.update(rule=fastnn.SGD().to_dict()), "has the arrays"),
    ],
)
def test_inconsistent_states_raise(tmp_path, change, match):
    train(network(), RULES["adam"], 1).save(tmp_path / "m", include_optimizer=True)
    (tmp_path / "m").write_bytes(changed((tmp_path / "m").read_bytes(), change))
    with pytest.raises(fastnn.ModelFormatError, match=match):
        fastnn.load(tmp_path / "m")


@pytest.mark.parametrize("changed", [False, True], ids=["as trained", "changed by hand"])
def test_saving_does_not_change_the_moments(tmp_path, changed):
    """Also where the file has others: those that a changed average stands for."""
    rng = np.random.default_rng(0)
    net = fastnn.Network([3, 4, 2], backend="numpy", random_state=0)
    X, y = rng.normal(size=(20, 3)), np.arange(20) % 2
    net.fit(X, y, epochs=3, optimizer=fastnn.Adam(ema=0.9))
    if changed:
        net.params[0] += 1
    params, moments = net.params.copy(), net.state.moments.copy()
    net.save(tmp_path / "m", include_optimizer=True)
    assert_bits(net.params, params)
    assert_bits(net.state.moments, moments)
    kept = fastnn.load(tmp_path / "m", backend="numpy").state.moments
    assert (kept[-1] == params).all() == changed
