"""The page's experiments, and what their sentences say."""

import pytest

from fastnn.play.presets import PRESETS
from fastnn.play.settings import PlaySettings
from fastnn.play.training import train


@pytest.fixture(scope="module")
def results():
    return {p["name"]: train(PlaySettings.check(p["settings"])) for p in PRESETS}


def accuracies(result):
    _, training, _, fresh = result.scores[-1]
    return training, fresh, result.best


def test_names_are_unique_and_sentences_end():
    names = [p["name"] for p in PRESETS]
    assert len(set(names)) == len(names)
    assert all(p["see"].endswith(".") for p in PRESETS)
    assert len({str(PlaySettings.check(p["settings"])) for p in PRESETS}) >= len(PRESETS) - 1


def test_all_are_trained(results):
    assert {name for name, r in results.items() if r.status != "done"} == {"nan"}
    assert "infinity minus infinity is NaN" in results["nan"].message


def test_one_unit_is_not_enough_and_three_are(results):
    assert accuracies(results["units-1"])[1] < 0.9
    assert accuracies(results["units-3"])[1] > 0.96


def test_more_units_are_better_in_training_alone(results):
    losses = [results[f"units-{n}"].scores[-1] for n in (3, 5, 15)]
    assert losses[0][0] > losses[1][0] > losses[2][0]
    assert losses[0][2] < losses[1][2] < losses[2][2]


def test_depth(results):
    losses = [results[f"layers-{n}"].scores[-1][0] for n in (1, 2, 3, 4, 5)]
    assert losses[0] > losses[1] > losses[2]


def test_rings(results):
    training, fresh, best = accuracies(results["rings"])
    assert fresh > 0.98
    training, fresh, best = accuracies(results["rings-overlap"])
    assert best == pytest.approx(0.689, abs=5e-4)
    assert fresh < best < training


def test_without_a_hidden_layer_xor_stays_wrong(results):
    assert 0.35 < accuracies(results["xor-linear"])[1] < 0.65


def test_learned_by_heart(results):
    result = results["overfit"]
    training, fresh, best = accuracies(result)
    assert training == 1.0
    assert fresh < best - 0.05
    assert 950 < result.network.n_params < 1150
