"""Command lines that people type by mistake."""

import pytest


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("train", "moons", "--out", "--overwrite"), "--out needs a value; got --overwrite"),
        (("train", "moons", "--epochs", "5", "--target", "--help"), "--target needs a value"),
        (("train", "moons", "--ignore", "a", "--ignore", "--header"), "--ignore needs a value"),
        (("predict", "m", "moons", "--out", "--no-append"), "--out needs a value; got --no-append"),
        (("search", "moons", "--out", "--typo"), "--out needs a value; got --typo (--out=--typo"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_an_option_is_not_the_value_of_another(refused, tmp_path, arguments, said):
    assert said in refused(*arguments)
    assert not [*tmp_path.iterdir()]


def test_a_value_like_an_option_stands_behind_an_equals_sign(run, tmp_path):
    code, _, err = run("train", "moons", "--epochs", "2", "--backend", "numpy", "--out=--odd", "-q")
    assert (code, err) == (0, "")
    assert (tmp_path / "--odd" / "model.safetensors").exists()
