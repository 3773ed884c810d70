"""The page in a real browser."""

import csv
import json
import re
import time

import numpy as np
import pytest
from browser_page import Page

import fastnn
from fastnn.backends import codes
from fastnn.play.presets import PRESETS
from fastnn.play.settings import PlaySettings
from fastnn.play.training import train


@pytest.fixture
def page(browser, port):
    page = Page(browser, port)
    yield page
    assert browser.complaints() == []


def assert_numbers(page, result):
    """The page's numbers are those of a training."""
    loss, accuracy, test_loss, test_accuracy = result.scores[-1]
    shown = page.numbers()
    assert shown["training"]["accuracy"] == f"{100 * accuracy:.1f} %"
    assert float(shown["training"]["loss"]) == pytest.approx(loss, rel=1e-3)
    assert shown["training"]["points"] == f"{len(result.points.train):,}"
    if not np.isnan(test_accuracy):
        row = shown["held out" if len(result.points.test) else "fresh points"]
        assert row["accuracy"] == f"{100 * test_accuracy:.1f} %"
        assert float(row["loss"]) == pytest.approx(test_loss, rel=1e-3)
    if result.best is not None:
        assert shown["best possible"]["accuracy"] == f"{100 * result.best:.1f} %"


@pytest.mark.parametrize(
    "look",
    [{}, {"dark": True}, {"width": 390, "height": 844, "mobile": True}, {"width": 820}],
    ids=["light", "dark", "phone", "tablet"],
)
def test_opens_without_complaints(page, look):
    page.open(
        "#steps=500&hidden=12,3,3,3,3,3,3,3&activation=tanh,tanh,tanh,tanh,tanh,tanh,tanh,tanh",
        **look,
    )
    width = look.get("width", 1280)
    assert page.value("document.documentElement.scrollWidth") <= width
    # eight layers scroll in a box of their own
    right = "document.querySelector('{}').getBoundingClientRect().right"
    assert page.value(right.format(".middle")) <= width
    if width > 1100:
        left = page.value("document.getElementById('picture').getBoundingClientRect().left")
        assert page.value(right.format("#curves")) < left
    ground = page.value("getComputedStyle(document.body).backgroundColor")
    red = int(re.findall(r"\d+", ground)[0])
    assert red < 60 if look.get("dark") else red > 230
    assert_numbers(page, train(page.settings()))
    urls = [
        event["params"]["request"]["url"]
        for event in page.browser.events
        if event["method"] == "Network.requestWillBeSent"
    ]
    assert len(urls) > 10
    assert all(url.startswith(page.address) for url in urls)
    unnamed = page.value(
        "[...document.querySelectorAll('input, select, button, canvas')].filter(box =>"
        " !(box.ariaLabel || box.labels?.length || box.textContent.trim())).map(box => box.id)"
    )
    assert unnamed == []


def test_slider_changes_the_picture_and_the_numbers(page):
    page.open()
    assert_numbers(page, train(PlaySettings()))
    for field, value in (("noise", "0.35"), ("learning_rate", "100"), ("steps", "120")):
        curves = "document.getElementById('curves').innerHTML"
        before = page.pixels(), page.value(curves), page.pixels("wires")
        page.set(field, value)
        assert page.pixels() != before[0]
        assert page.value(curves) != before[1]
        assert page.pixels("wires") != before[2]
    settings = page.settings()
    assert settings.noise == 0.35
    assert settings.learning_rate == pytest.approx(0.1, rel=0.1)
    assert 1 < settings.steps < 20_000
    assert_numbers(page, train(settings))
    assert page.value("document.getElementById('f-noise').value") == "0.35"


def test_typed_number_and_one_that_is_out_of_bounds(page):
    page.open("#steps=100")
    page.value("document.getElementById('f-noise').value = 0.1")
    page.after("document.getElementById('f-noise').dispatchEvent(new Event('change'))")
    assert page.settings().noise == 0.1
    page.value("document.getElementById('f-noise').value = 77")
    page.value("document.getElementById('f-noise').dispatchEvent(new Event('change'))")
    assert page.settings().noise == 0.1
    assert page.value("document.getElementById('f-noise').value") == "0.1"


def test_dragging_ends_at_the_last_position(page):
    page.open()
    page.after(
        "for (let i = 0; i <= 50; i++) { const box = document.querySelector('[data-field=noise]');"
        "box.value = 0.1 + 0.006 * i; box.dispatchEvent(new Event('input')); }"
    )
    assert page.settings().noise == 0.4
    assert_numbers(page, train(PlaySettings(noise=0.4)))


def test_forward_pass_is_that_of_the_library(page):
    """All activations, the scales of standardised features, layers of several sizes."""
    page.open("#standardize=true&steps=60&learning_rate=0.1&scale=3&data=spirals&classes=3")
    rng = np.random.default_rng(0)
    X = rng.uniform(-6, 6, (40, 2))
    points = [X[:, 0].tolist(), X[:, 1].tolist()]
    for name in codes.ACTIVATIONS:
        layers = {"hidden": [5, 4], "activation": [name, "tanh"]}
        page.after(
            f"Object.assign(play.settings, {json.dumps(layers)}); play.link.ask(play.settings)"
        )
        got = np.array(page.value(f"play.probabilities(...{json.dumps(points)})")).T
        expected = train(page.settings()).network.predict_proba(X)
        np.testing.assert_allclose(got, expected, rtol=0, atol=3e-5, err_msg=name)


def test_layers_and_units(page):
    page.open("#steps=50&learning_rate=0.5")
    page.after("document.getElementById('more-0').click()")
    page.after("document.getElementById('add-layer').click()")
    page.after("document.getElementById('less-1').click()")
    page.after(
        "(() => { const box = document.getElementById('activation-1'); box.value = 'relu';"
        "box.dispatchEvent(new Event('change')); })()"
    )
    assert (page.settings().hidden, page.settings().activation) == ([4, 3], ["tanh", "relu"])
    assert page.text("shape") == "2-4-3-2, 35 parameters"
    assert_numbers(page, train(page.settings()))
    page.after("document.getElementById('remove-0').click()")
    page.after("document.getElementById('remove-0').click()")
    assert page.settings().hidden == []
    assert page.text("shape") == "2-2, 6 parameters"
    page.after("document.getElementById('add-layer').click()")
    assert page.settings().hidden == [3]


def test_unit_under_the_mouse_is_the_picture(page):
    page.open("#steps=50&learning_rate=0.5")
    page.value(
        "window.copy = new OffscreenCanvas(400, 400).getContext('2d', {willReadFrequently: true});"
        "window.look = () => { copy.drawImage(document.getElementById('picture'), 0, 0);"
        "return copy.getImageData(0, 0, 400, 400).data; }; window.usual = look(); 0"
    )
    box = page.value("document.getElementById('wires').getBoundingClientRect().toJSON()")
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    for place, shown in (((x, y), True), ((x, 2.0), False)):
        page.browser.call("Input.dispatchMouseEvent", type="mouseMoved", x=place[0], y=place[1])
        page.until(f"document.getElementById('state').hidden === {json.dumps(not shown)}")
        page.value("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        moved = page.value("look().reduce((sum, v, i) => sum + Math.abs(v - usual[i]), 0)")
        # drawing the same again may round a shade of some pixels otherwise
        assert (moved > 1e6) if shown else (moved < 1e4)
    assert "unit 2 of layer 1" in page.text("state")


def test_drawn_points_are_trained_with(page):
    page.open("#steps=300&learning_rate=0.5")
    box = page.value("document.getElementById('picture').getBoundingClientRect().toJSON()")
    at = lambda x, y: (box["x"] + x * box["width"], box["y"] + y * box["height"])  # noqa: E731
    page.value("document.querySelector('[name=tool][value=\"2\"]').click()")
    page.browser.drag([at(0.1 + 0.03 * i, 0.9) for i in range(8)])
    page.until("play.frame.classes.length === 3 && play.frame.id === play.link.number")
    settings = page.settings()
    assert settings.data == "points"
    drawn = [point for point in settings.points if point[2] == 2]
    assert len(settings.points) == 200 + len(drawn)
    assert len(drawn) == 8
    page.until("play.frame.status === 'done'")
    assert_numbers(page, train(settings))
    page.value("document.querySelector('[name=tool][value=erase]').click()")
    page.browser.drag([at(0.1 + 0.03 * i, 0.9) for i in range(8)])
    page.until("play.frame.classes.length === 2 && play.frame.id === play.link.number")
    assert len(page.settings().points) == 200


def test_points_by_the_keyboard(page):
    page.open("#steps=50&learning_rate=0.5&data=points&points=-1,-1,0;1,1,1")
    page.value("document.querySelector('[name=tool][value=\"1\"]').click()")
    page.value("document.getElementById('picture').focus()")
    for name, code in (("ArrowRight", 39), ("ArrowDown", 40), ("Enter", 13)):
        page.browser.key(name, code)
    page.until("play.frame.y.length === 3")
    assert page.settings().points[-1] == (0.08, -0.08, 1)
    page.browser.key("Delete", 46)
    page.until("play.frame.y.length === 2")


def test_points_from_an_empty_picture(page):
    page.open("#steps=50&data=points&points=-1,-1,0;1,1,1")
    page.click("clear")
    page.until("document.getElementById('notice').textContent.includes('draw points of two')")
    empty = page.pixels()
    page.value("document.querySelector('[name=tool][value=\"3\"]').click()")
    page.value("document.getElementById('picture').focus()")
    for name, code in (("Enter", 13), ("ArrowLeft", 37)):
        page.browser.key(name, code)
    page.value("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert page.pixels() != empty  # one class alone is shown, not trained with
    page.value("document.querySelector('[name=tool][value=\"0\"]').click()")
    page.value("document.getElementById('picture').focus()")
    page.browser.key("Enter", 13)
    page.until("play.frame.y.length === 2 && document.getElementById('notice').hidden")
    assert page.value("play.frame.classes") == [0, 3]


@pytest.mark.parametrize("name", ["rings-overlap", "quantiles"])
def test_preset(page, name):
    preset = next(p for p in PRESETS if p["name"] == name)
    page.open("#steps=50")
    page.after(
        f"(() => {{ const box = document.getElementById('preset'); box.value = '{name}';"
        "box.dispatchEvent(new Event('change')); })()"
    )
    assert page.text("see") == preset["see"]
    assert page.settings() == PlaySettings.check(preset["settings"])
    assert_numbers(page, train(page.settings()))


def test_nan_on_purpose(page):
    page.open(
        "#activation=relu&scale=1000&dtype=float32&steps=2000",
        ready="window.play && play.frame?.status === 'diverged' && play.stats.frames",
    )
    assert "infinity minus infinity is NaN" in page.text("notice")
    page.until("document.getElementById('preset').value === 'nan'")


def test_permalink(page):
    page.open("#data=circles&hidden=4,3&activation=relu,tanh&noise=0.1&steps=100&held_out=0.25")
    settings = page.settings()
    assert settings == PlaySettings(
        data="circles", hidden=[4, 3], activation=["relu", "tanh"], noise=0.1, steps=100,
        held_out=0.25,
    )  # fmt: skip
    assert_numbers(page, train(settings))
    page.set("noise", "0.3")
    page.until("location.hash.includes('noise=0.3')")
    hash_ = page.value("location.hash")
    page.open(hash_)
    assert page.settings() == settings.model_copy(update={"noise": 0.3})
    page.value("location.hash = '#steps=30'")
    page.until("play.settings.steps === 30 && play.frame.at.at(-1) === 30")
    assert page.settings() == PlaySettings(steps=30)


def test_permalink_of_drawn_points(page):
    page.open("#steps=20&data=points&points=-1,0.5,0;1,-1e-3,3")
    assert page.settings().points == [(-1, 0.5, 0), (1, -0.001, 3)]
    assert page.value("play.frame.classes") == [0, 3]


def test_bad_permalink_is_one_sentence(page):
    page.open("#samples=99999", ready="window.play && !document.getElementById('notice').hidden")
    assert "samples must be at most 2000" in page.text("notice")


def test_replay(page):
    page.open("#steps=20")
    result = train(PlaySettings(steps=20))
    end = page.pixels()
    assert page.text("time-text") == "step 20"
    page.value("(() => { const t = document.getElementById('time'); t.value = 3;"
               "t.dispatchEvent(new Event('input')); })()")  # fmt: skip
    page.until(f"document.getElementById('time-text').textContent === 'step {result.at[3]}'")
    assert page.pixels() != end
    loss, accuracy, _, _ = result.scores[3]
    assert page.numbers()["training"]["accuracy"] == f"{100 * accuracy:.1f} %"
    assert float(page.numbers()["training"]["loss"]) == pytest.approx(loss, rel=1e-3)
    page.click("replay")
    page.until("document.getElementById('time-text').textContent === 'step 1'")
    page.until("document.getElementById('time-text').textContent === 'step 20'")
    page.until("document.getElementById('replay').textContent === '▶'")
    assert page.numbers()["training"]["accuracy"] == f"{100 * result.scores[-1][1]:.1f} %"


def test_two_runs(page):
    page.open("#steps=400")
    page.click("pin")
    page.until("document.getElementById('difference-text').textContent")
    assert page.text("difference-text").startswith("differs on 0.0 %")
    page.set("noise", "0.5")
    share = float(re.search(r"[\d.]+", page.text("difference-text"))[0])
    assert 0 < share < 60
    assert page.text("changes") == "Pinned → now: noise 0.2 → 0.5"
    page.click("pin")
    assert page.value("document.getElementById('pinned').hidden")


@pytest.fixture
def downloads(browser, tmp_path):
    browser.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))

    def wait(name):
        deadline = time.monotonic() + 20
        path = tmp_path / name
        while not path.exists() or not path.stat().st_size:
            assert time.monotonic() < deadline, f"no {name}"
            time.sleep(0.02)
        return path

    return wait


def test_what_one_takes_away(page, downloads):
    page.open("#steps=200&held_out=0.2&hidden=4&learning_rate=0.5")
    result = train(page.settings())
    page.value("navigator.clipboard.writeText = async (text) => { window.copied = text; }")
    for button, begin in (
        ("copy-link", page.address + "#held_out=0.2&hidden=4"),
        ("copy-python", "import fastnn\n"),
        ("copy-command", "fastnn train moons --no-standardize --hidden 4"),
    ):
        page.value("window.copied = ''")
        page.click(button)
        assert page.until("window.copied").startswith(begin)
    page.click("save-model")
    net = fastnn.load(downloads("model.safetensors"))
    np.testing.assert_array_equal(net.params, result.network.params)
    page.click("save-points")
    rows = list(csv.reader(downloads("points.csv").read_text().splitlines()))
    assert rows[0] == ["x0", "x1", "class"]
    np.testing.assert_array_equal(np.array(rows[1:], float)[:, :2], result.points.X)
    page.click("save-figure")
    figure = downloads("figure.svg").read_text()
    assert figure.count("<path transform") == 200
    assert "moons, 2-4-2, step 200" in figure
    assert "data:image/png" in figure


def test_csv_file(page, tmp_path):
    path = tmp_path / "pets.csv"
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 3)) * [1, 100, 1e6] + [0, 0, 1.7e9]
    kinds = np.where(X[:, 0] > 0, "<b>dog</b>", "cat")
    rows = [f"{a!r},{b!r},{c!r},{k}" for (a, b, c), k in zip(X.tolist(), kinds, strict=True)]
    path.write_text("length,mass,<i>time</i>,kind\n" + "\n".join(rows) + "\n")
    page.open("#steps=200&learning_rate=0.5")
    root = page.browser.call("DOM.getDocument")["root"]["nodeId"]
    node = page.browser.call("DOM.querySelector", nodeId=root, selector="#file")["nodeId"]
    page.browser.call("DOM.setFileInputFiles", files=[str(path)], nodeId=node)
    page.until("play.frame.y.length === 40 && play.frame.id === play.link.number")
    page.until("play.frame.status === 'done'")
    settings = page.settings()
    assert settings.standardize
    assert settings.points[0][:2] == tuple(X[0, :2])
    assert_numbers(page, train(settings))
    assert page.text("table-notes") == (
        "pets.csv: class 0 is <b>dog</b>; class 1 is cat; commas between the values, names in line "
        "1, 40 rows; features are standardised (More settings)."
    )
    assert page.text("legend").startswith("<b>dog</b>catlength −")
    page.after(
        "(() => { const box = document.getElementById('table-y'); box.value = '<i>time</i>';"
        "box.dispatchEvent(new Event('change')); })()"
    )
    assert "<i>time</i>" in page.text("legend")
    assert page.value("document.querySelector('#legend i, #legend b') === null")
    assert_numbers(page, train(page.settings()))


def test_comes_back_when_the_server_does(page):
    page.open("#steps=20")
    page.value("play.link.socket.close()")
    page.until("!document.getElementById('notice').hidden")
    page.until("document.getElementById('notice').hidden && play.link.socket.readyState === 1")
    page.set("noise", "0.3")
    assert_numbers(page, train(PlaySettings(steps=20, noise=0.3)))
