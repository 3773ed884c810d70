"""``NetworkSpec``: one description of a network for all who describe one; ``Tuning``."""

import pickle
from dataclasses import replace

import numpy as np
import pytest

import fastnn
from fastnn.backends.tuning import Tuning, tuned, tuning
from fastnn.network import spec as table
from fastnn.network.spec import NetworkSpec
from fastnn.storage.schema_config import Config


def test_single_values_apply_to_each_layer():
    spec = NetworkSpec([3, 5, 4, 2], activation="relu", dropout=0.5, dtype="float64")
    assert spec.layer_sizes == (3, 5, 4, 2)
    assert spec.activation == ("relu", "relu")
    assert spec.dropout == (0.5, 0.5)
    assert spec.dtype == np.float64
    other = NetworkSpec((3, 5, 4, 2), activation=["relu"] * 2, dropout=(0.5, 0.5), dtype=np.float64)
    assert other == spec
    assert hash(other) == hash(spec)
    assert pickle.loads(pickle.dumps(spec)) == spec


@pytest.mark.parametrize(
    ("sizes", "settings", "is_regression", "columns", "scales"),
    [
        ((3, 2), {}, False, False, False),
        ((3, 1), {"loss": "binary_cross_entropy"}, False, False, False),
        ((3, 2), {"loss": "binary_cross_entropy"}, False, True, False),
        ((3, 1), {"loss": "huber"}, True, True, True),
        ((3, 1), {"loss": "poisson"}, True, True, False),
        ((3, 1), {"loss": fastnn.CustomLoss(np.add, np.subtract)}, True, True, True),
    ],
)
def test_derived_properties(sizes, settings, is_regression, columns, scales):
    spec = NetworkSpec(sizes, **settings)
    assert spec.is_regression == is_regression
    assert spec.has_target_columns == columns
    assert spec.scales_targets == scales
    assert spec.n_classes == 2


def test_alpha_applies_to_activations_with_a_constant():
    spec = NetworkSpec([2, 3, 3, 3, 2], activation=["leaky_relu", "tanh", "elu"])
    assert spec.alphas == [0.01, 0.0, 1.0, 0.0]
    assert replace(spec, alpha=0.3).alphas == [0.3, 0.0, 0.3, 0.0]


@pytest.mark.parametrize("name", ["label_smoothing", "quantile", "delta", "l2", "dropout", "alpha"])
def test_declared_bounds_are_enforced(name):
    limits = table.bounds(name)
    low = limits.get("gt", limits.get("ge"))
    sizes, inside = [2, 3, 2], {"label_smoothing": 0.5}
    allowed = getattr(NetworkSpec(sizes, **{name: low + 0.5}), name)
    assert np.all(np.equal(allowed, low + 0.5))
    outside = [
        low - 0.1,
        *([low] if "gt" in limits else []),
        *([limits["lt"]] if "lt" in limits else []),
    ]
    for value in (value for value in outside if value is not None):
        with pytest.raises(ValueError, match=name):
            NetworkSpec(sizes, **(inside | {name: value}))
    if "ge" in limits:
        NetworkSpec(sizes, **{name: low})


def test_files_and_networks_have_all_fields():
    names = set(table.FIELDS)
    config = fastnn.Network([2, 3, 2]).get_config()
    own = {"classes", "targets_1d", "n_epochs", "seed"}
    assert set(config) == names | own
    assert set(Config.model_fields) == names | own
    assert NetworkSpec(**{name: config[name] for name in names}) == fastnn.Network([2, 3, 2]).spec
    for name in names - {"layer_sizes", "dtype"}:
        given = fastnn.Network.__init__.__kwdefaults__[name]
        assert given == table.default(name), name


def test_l2_setter_validates_and_takes_effect():
    net = fastnn.Network([2, 3, 2], random_state=0)
    before = net.loss([[0, 1], [1, 0]], [0, 1])
    net.l2 = 1.0
    assert net.spec.l2 == net.get_config()["l2"] == 1.0
    assert net.loss([[0, 1], [1, 0]], [0, 1]) > before
    with pytest.raises(ValueError, match="l2 must be"):
        net.l2 = -1.0
    with pytest.raises(AttributeError):
        net.dropout = 0.5


def test_tuned_thresholds_apply_within_the_context():
    net = fastnn.Network([2, 300, 300, 2], backend="numpy", random_state=0)
    usual = net.model.batch_plan(100)

    def broken():
        with tuned(split_units_bytes=0) as changed:
            assert tuning() is changed
            assert changed == replace(Tuning(), split_units_bytes=0)
            assert net.model.batch_plan(100).tuning is changed  # a plan of its own
            raise RuntimeError("within")

    with pytest.raises(RuntimeError, match="within"):
        broken()
    assert tuning() == Tuning()
    assert net.model.batch_plan(100).tuning is usual.tuning
    with pytest.raises(TypeError, match="no_such_field"), tuned(no_such_field=1):
        pass


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"min_block": 16}, "min_block must be a multiple of 64 of at least 64; got 16"),
        ({"max_block": 0}, "max_block must be a multiple of 64 of at least 64; got 0"),
        ({"min_split_block": 100}, "min_split_block must be a multiple of 64"),
        ({"max_wide_block": 64.0}, "max_wide_block must be a multiple of 64"),
        ({"min_block": 1024}, "min_block must be at most max_block, 512; got 1024"),
        ({"work_per_thread": 0}, "work_per_thread must be a whole number of at least 1; got 0"),
        ({"wide_blocks": True}, "wide_blocks must be a whole number of at least 1; got True"),
        (
            {"split_units_bytes": -1},
            "split_units_bytes must be a whole number of at least 0; got -1",
        ),
        ({"dense_bytes": "9"}, "dense_bytes must be a whole number of at least 0; got '9'"),
        ({"chunk_seconds": -1}, "chunk_seconds must be a finite number of at least 0; got -1"),
        ({"sparse_density": np.nan}, "sparse_density must be a finite number"),
    ],
)
def test_invalid_thresholds_raise(changes, message):
    with pytest.raises(ValueError, match=message), tuned(**changes):
        pass
    assert tuning() == Tuning()


@pytest.mark.parametrize("value", ["no", "False", None, 2, 0.5])
def test_switches_must_be_bool(value):
    with pytest.raises(ValueError, match="standardize must be True or False; got"):
        fastnn.Network([2, 3, 2], standardize=value)
    net = fastnn.Network([2, 3, 2], standardize=np.True_)
    assert net.spec.standardize is True
    with pytest.raises(ValueError, match="shuffle must be True or False; got"):
        net.fit(np.eye(2), [0, 1], shuffle=value)


def test_invalid_layer_size_is_named():
    with pytest.raises(ValueError, match=r"layer_sizes\[1\] must be a whole number of at least 1"):
        fastnn.Network([4, 8.0, 3])
    with pytest.raises(ValueError, match="layer_sizes must be a sequence of whole numbers; got '4"):
        fastnn.Network("4-8-3")


def test_params_of_another_shape_raise():
    net = fastnn.Network([4, 8, 3])
    with pytest.raises(ValueError, match=r"params must have shape \(67,\); got \(3,\)"):
        net.params = np.zeros(3)
