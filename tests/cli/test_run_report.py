"""The report page of a run, and the numbers in it."""

import base64
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from sklearn.calibration import calibration_curve
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LinearRegression

import fastnn
from fastnn import cli
from fastnn.cli.rows import known_rows
from fastnn.tables.importances import REPEATS, calibration, importances

pytestmark = pytest.mark.usefixtures("rendered")


class Page(HTMLParser):
    """The texts of a page, its images and whatever it would load."""

    def __init__(self, text):
        super().__init__()
        self.texts, self.images, self.tags = [], {}, set()
        self.feed(text)

    def handle_data(self, data):
        self.texts.append(data)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        attributes = dict(attributes)
        if tag == "img":
            self.images[attributes["alt"]] = attributes["src"]


@pytest.fixture
def page(tmp_path, monkeypatch):
    """Train with a table and read the page of the run."""
    monkeypatch.chdir(tmp_path)

    def make(target, *options):
        n = 120
        rng = np.random.default_rng(0)
        frame = pd.DataFrame(
            {
                "x": rng.normal(size=n),
                "<script>alert(1)</script>": rng.choice(["<b>", "$a$", "c&d"], n),
                "gap $": np.where(rng.random(n) < 0.25, np.nan, rng.normal(size=n)),
            }
        )
        frame["class"] = np.where(frame["x"] > 0, "<i>yes</i>", "no")
        frame["three"] = np.select([frame["x"] < -0.5, frame["x"] > 0.5], ["a", "b"], "日本")
        frame["size"] = 2 * frame["x"] + rng.normal(0, 0.1, n)
        others = [name for name in ("class", "three", "size") if name != target]
        frame.drop(columns=others).to_csv("table.csv", index=False)
        arguments = ("--target", target, "--epochs", "20", "--out", "run", *options)
        assert cli.main(["train", "table.csv", *arguments]) == 0
        return (tmp_path / "run/report.html").read_text(encoding="utf-8")

    return make


def test_page_for_small_and_dark_screens(page):
    text = page("class")
    assert '<meta name="viewport" content="width=device-width' in text
    assert "prefers-color-scheme: dark" in text
    assert "missing" in Page(text).texts
    frame = pd.read_csv("table.csv").drop(columns="gap $")
    frame.to_csv("table.csv", index=False)
    arguments = ["train", "table.csv", "--target", "class", "--epochs", "2", "--out", "other"]
    assert cli.main(arguments) == 0
    with open("other/report.html", encoding="utf-8") as file:
        texts = Page(file.read()).texts
    assert "becomes" in texts
    assert "missing" not in texts  # a column that would be empty


@pytest.mark.parametrize("target", ["class", "three", "size"])
def test_page_of_a_table(page, target):
    text = page(target)
    found = Page(text)
    assert found.tags <= {
        *("html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "table", "tr", "td"),
        *("th", "span", "img"),
    }
    assert f"table: {target}" in found.texts
    assert "<script>alert(1)</script>" in found.texts
    assert "3 categories ($a$, <b>, c&d), a column each" in found.texts
    wanted = {"Loss by epoch", "Score by epoch", "Importance of each column"}
    wanted |= {"Predictions over targets"} if target == "size" else {"Confusion matrix"}
    wanted |= set() if target == "size" else {"Calibration"}
    assert set(found.images) == wanted
    for source in found.images.values():
        kind, data = source.split(",")
        assert kind == "data:image/svg+xml;base64"
        assert ET.fromstring(base64.b64decode(data)).tag.endswith("svg")
    bars = base64.b64decode(found.images["Importance of each column"].split(",")[1]).decode()
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in bars
    assert "gap $" in bars  # not a formula
    assert re.findall(r"https?://(?!www\.w3\.org)", text) == []
    assert '<meta name="viewport" content="width=device-width' in text  # fits a phone


def test_page_of_a_watched_training(page):
    found = Page(page("class", "--early-stopping", "--patience", "5", "--hidden", "8"))
    curve = base64.b64decode(found.images["Score by epoch"].split(",")[1]).decode()
    assert ">validation accuracy<" in curve


def test_page_of_deviations_and_quantiles(page, tmp_path):
    """The shares are those of the rows held out."""
    for options in (("gaussian",), ("quantile", "--quantiles", "0.2,0.9")):
        text = page("size", "--loss", *options, "--overwrite", "--no-plots")
        rows = re.findall(r"<tr><td>([^<]*)</td><td>([\d.]+)%</td><td>([\d.]+)%</td></tr>", text)
        frame = pd.read_csv(tmp_path / "table.csv")
        model = fastnn.load(tmp_path / "run/model.safetensors")
        description = fastnn.storage.describe(tmp_path / "run/model.safetensors")
        held = known_rows(description.training).held_out
        frame = frame[held]
        y, X = frame["size"].to_numpy(), frame.drop(columns="size")
        if options[0] == "gaussian":
            mean, std = model.predict(X, return_std=True)
            wanted = [np.mean(abs(y - mean) <= z * std) for z in (0.6745, 1.2816, 1.6449, 1.96)]
            assert [row[1] for row in rows] == ["50.0", "80.0", "90.0", "95.0"]
        else:
            wanted = np.mean(y[:, None] <= model.predict(X), axis=0)
            assert [row[0] for row in rows] == ["0.2", "0.9"]
        assert [row[2] for row in rows] == [f"{share:.1%}"[:-1] for share in wanted]


def test_page_without_held_out_rows_or_report(page, tmp_path):
    text = page("class", "--test", "0")
    assert "Confusion matrix of the training samples." in text
    page("class", "--overwrite")
    (tmp_path / "run/report.html").unlink()
    with pytest.raises(FileNotFoundError):
        page("class", "--overwrite", "--no-report")


def test_page_without_matplotlib(page, monkeypatch):
    from fastnn.cli import report, training

    for module in (report, training):
        monkeypatch.setattr(module, "is_installed", lambda name: False)
    found = Page(page("size"))
    assert found.images == {}
    assert "importance" in found.texts
    assert any(text.startswith("Of the 24 held-out samples: mean abs") for text in found.texts)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_calibration_is_that_of_sklearn(n_classes):
    rng = np.random.default_rng(0)
    proba = rng.dirichlet(np.ones(n_classes), 500)
    classes = np.array(["a", "b", "c"][:n_classes])
    y = classes[[rng.choice(n_classes, p=p) for p in proba]]
    predicted, observed, counts, error = calibration(y, proba, classes)
    if n_classes == 2:
        true, p = y == "b", proba[:, 1]
    else:
        true, p = y == classes[proba.argmax(1)], proba.max(1)
    expected = calibration_curve(true, p, n_bins=10)
    np.testing.assert_allclose(observed, expected[0], rtol=1e-12)
    np.testing.assert_allclose(predicted, expected[1], rtol=1e-12)
    assert counts.sum() == 500
    np.testing.assert_allclose(error, (np.abs(predicted - observed) * counts).sum() / 500)


def test_importances_are_those_of_sklearn():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1500, 4))
    y = X @ [3.0, 1.0, 0.0, 2.0] + rng.normal(0, 0.1, 1500)
    model = LinearRegression().fit(X, y)
    expected = permutation_importance(model, X, y, n_repeats=30, random_state=0)
    found = importances(model.score, X, y, [[0], [1], [2], [3]])
    assert found.shape == (4, REPEATS)
    # five repetitions vary by a few percent
    np.testing.assert_allclose(found.mean(axis=1), expected.importances_mean, rtol=0.05, atol=1e-4)
    # columns of a group are permuted together: that of both is more than that of either
    both = importances(model.score, X, y, [[0, 3]]).mean()
    assert both > found.mean(axis=1).max()


@pytest.mark.parametrize("n", [30, 5000])
def test_importances_leave_the_rows_as_they_are(n):
    X = np.random.default_rng(0).normal(size=(n, 2))
    kept = X.copy()
    importances(lambda X, y: float(X.sum()), X, X[:, 0], [[0], [1]])
    np.testing.assert_array_equal(X, kept)
