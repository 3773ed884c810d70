"""Libraries to which networks are exported; trained models of tables."""

import pytest

import fastnn
from fastnn.extras import require


@pytest.fixture(scope="module")
def torch():
    return require("torch", "this test", "test")


@pytest.fixture(scope="module")
def keras():
    return require("keras", "this test", "test")


@pytest.fixture(scope="module")
def small_networks():
    """The recipe's networks have 256 units a layer, which C compilers take seconds for."""
    from fastnn.tables import realmlp

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(realmlp, "HIDDEN", (9, 7))
        yield


@pytest.fixture(scope="module")
def models(small_networks):
    """A trained estimator for each kind of target, made once."""
    from exported_tables import KINDS, TARGETS, table_of

    frame, made = table_of(0), {}
    for kind, target in TARGETS.items():
        numbers = kind in ("regression", "vector")
        make = fastnn.TabularRegressor if numbers else fastnn.TabularClassifier
        members = 3 if kind in ("regression", "classes") else 1
        options = {"dtype": "float64"} if kind in ("vector", "numbers") else {}
        made[kind] = make(
            n_epochs=3,
            n_members=members,
            columns=KINDS,
            random_state=0,
            backend="numpy",
            **options,
        ).fit(frame, target(frame))
    assert [code.name for code in made["two"].encoding_.columns if code.floor] == ["full"]
    return made
