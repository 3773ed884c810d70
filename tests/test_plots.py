import subprocess
import sys

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

import fastnn
from fastnn import datasets, plots
from fastnn.training.history import History

matplotlib.use("Agg")


@pytest.fixture
def ax():
    return Figure(figsize=(4, 3), layout="constrained").subplots()


def network(n_outputs=2, n_features=2, **options):
    sizes = [n_features, 3, n_outputs]
    return fastnn.Network(sizes, backend="numpy", dtype="float64", random_state=0, **options)


def line_points(ax):
    """Points of the lines between classes."""
    found = [
        path.vertices
        for collection in ax.collections
        if type(collection).__name__ == "QuadContourSet" and not collection.filled
        for path in collection.get_paths()
    ]
    return np.concatenate(found)


def test_line_runs_where_the_answer_changes(ax):
    data = datasets.load("moons")
    net = network()
    net.fit(data.X, data.y, optimizer=fastnn.SGD(2.0), epochs=300)
    assert plots.decision_boundary(net, data.X, data.y, ax=ax) is ax
    points = line_points(ax)
    assert len(points) > 50
    p = net.predict_proba(points)[:, 1]
    np.testing.assert_allclose(p, 0.5, atol=0.01)
    np.testing.assert_array_less(points.min(axis=0), data.X.max(axis=0))


def test_samples_are_drawn_by_class(ax):
    data = datasets.load("blobs")
    net = network(4)
    net.fit(data.X, data.y, epochs=2)
    plots.decision_boundary(
        net, data.X, data.y, ax=ax, feature_names=["length", "width"], title="blobs"
    )
    drawn = {
        collection.get_label(): collection
        for collection in ax.collections
        if type(collection).__name__ == "PathCollection"
    }
    assert list(drawn) == ["0", "1", "2", "3"]
    for k, (label, points) in enumerate(drawn.items()):
        np.testing.assert_array_equal(points.get_offsets(), data.X[data.y == int(label)])
        np.testing.assert_allclose(points.get_facecolor()[0], to_rgba(plots.COLORS[k]))
        np.testing.assert_allclose(points.get_edgecolor()[0], to_rgba("white"))
    assert [text.get_text() for text in ax.get_legend().get_texts()] == list(drawn)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("length", "width")
    assert ax.get_title(loc="left") == "blobs"
    # The picture in the back shows the class that is predicted.
    (image,) = ax.images
    left, right, bottom, top = image.get_extent()
    pixels = image.get_array()
    corners = np.array([[left, bottom], [right, top]])
    for k, pixel in zip(net.predict(corners), (pixels[0, 0], pixels[-1, -1]), strict=True):
        missing = 1 - np.array(to_rgba(plots.COLORS[k])[:3])
        np.testing.assert_allclose((1 - pixel) / (1 - pixel).max(), missing / missing.max())


def test_many_classes(ax):
    X = np.random.default_rng(0).normal(size=(60, 2))
    net = network(15)
    net.fit(X, np.arange(60) % 15, epochs=1)
    plots.decision_boundary(net, X, np.arange(60) % 15, ax=ax, resolution=40)
    assert ax.get_legend() is None


@pytest.mark.parametrize("loss", ["squared_error", "binary_cross_entropy"])
def test_one_output(ax, loss):
    X = np.random.default_rng(0).normal(size=(30, 2))
    y = X[:, 0] if loss == "squared_error" else X[:, 0] > 0
    net = network(1, loss=loss)
    net.fit(X, y, epochs=5)
    plots.decision_boundary(net, X, y, ax=ax, resolution=50)
    ax.figure.savefig("/dev/null" if sys.platform != "win32" else "nul", format="png")
    assert len(ax.figure.axes) == (2 if loss == "squared_error" else 1)


def test_bad_input(ax):
    X, y = np.ones((4, 2)), np.array([0, 1, 0, 1])
    with pytest.raises(ValueError, match="over 2 features; the network has 3"):
        plots.decision_boundary(network(n_features=3), np.ones((4, 3)), y, ax=ax)
    with pytest.raises(ValueError, match=r"X must have shape \(samples, 2\); got \(4, 3\)"):
        plots.decision_boundary(network(), np.ones((4, 3)), y, ax=ax)
    with pytest.raises(ValueError, match=r"y must have shape \(4,\); got \(3,\)"):
        plots.decision_boundary(network(), X, y[:3], ax=ax)
    with pytest.raises(ValueError, match="one target; the network has 2"):
        plots.decision_boundary(network(loss="squared_error"), X, y, ax=ax)
    # A feature without spread is no reason to fail.
    plots.decision_boundary(network(), X, y, ax=ax, resolution=10)


def test_loss_curve(ax):
    loss = np.geomspace(1, 0.01, 50)
    history = History(loss, validation_loss=2 * loss, best_epoch=30)
    assert plots.loss_curve(history, ax=ax, title="run") is ax
    training, validation, best = ax.lines
    np.testing.assert_array_equal(training.get_xdata(), np.arange(1, 51))
    np.testing.assert_array_equal(training.get_ydata(), loss)
    np.testing.assert_array_equal(validation.get_ydata(), 2 * loss)
    assert list(best.get_xdata()) == [31, 31]
    assert (ax.get_yscale(), ax.get_xscale()) == ("log", "linear")
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["training", "validation", "best epoch"]


def test_a_validation_loss_of_hundreds_does_not_hide_the_others(ax):
    loss = np.linspace(1, -3, 50)
    validation = np.r_[np.linspace(1, -1, 20), np.geomspace(1, 300, 30)]
    plots.loss_curve(History(loss, validation_loss=validation), ax=ax)
    low, high = ax.get_ylim()
    assert low < -3
    assert 3 < high < 10
    assert all(line.get_clip_on() for line in ax.lines)
    ax.clear()
    plots.loss_curve(History(loss, validation_loss=loss + 2), ax=ax)
    assert ax.get_ylim()[1] > 3 > ax.get_ylim()[0]


@pytest.mark.parametrize(
    ("loss", "scales"),
    [
        (np.linspace(1, 0.9, 20), ("linear", "linear")),
        (np.linspace(1, -0.5, 20), ("linear", "linear")),
        (np.linspace(1, 0.0, 20), ("linear", "linear")),
        (np.geomspace(1, 0.1, 2000), ("log", "log")),
        (np.array([0.5]), ("linear", "linear")),
        (np.array([]), ("linear", "linear")),
    ],
)
def test_scales_where_they_make_sense(ax, loss, scales):
    plots.loss_curve(History(loss), ax=ax)
    assert (ax.get_yscale(), ax.get_xscale()) == scales
    ax.figure.canvas.draw()


def test_new_figure_for_a_notebook():
    import matplotlib.pyplot as plt

    before = plt.get_fignums()
    ax = History(np.array([2.0, 1.0])).plot()
    assert plt.get_fignums() == [*before, ax.figure.number]


def test_given_axes_need_no_pyplot_and_no_scikit_learn():
    code = """
import sys
import numpy as np
import fastnn
from matplotlib.figure import Figure
net = fastnn.Network([2, 2], backend="numpy")
fastnn.plots.decision_boundary(net, np.eye(2), [0, 1], ax=Figure().subplots())
assert "matplotlib.pyplot" not in sys.modules
assert "sklearn" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_confusion_matrix_is_that_of_sklearn():
    from sklearn.metrics import confusion_matrix

    rng = np.random.default_rng(0)
    y = rng.choice(["a", "b", "$c$"], 90)
    predicted = np.where(rng.random(90) < 0.7, y, rng.choice(["a", "b"], 90))
    ax = plots.confusion_matrix(y, predicted, ax=Figure().subplots(), title="t")
    expected = confusion_matrix(y, predicted)
    drawn = {text.get_position(): text.get_text() for text in ax.texts}
    found = {(j, i): str(n) for (i, j), n in np.ndenumerate(expected) if n}
    assert drawn == found
    share = expected / expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(ax.images[0].get_array(), share)
    assert [label.get_text() for label in ax.get_yticklabels()] == [r"\$c\$", "a", "b"]
    # of many classes the most frequent ones
    many = np.repeat(np.arange(40), np.arange(40) + 1)
    ax = plots.confusion_matrix(many, many, ax=Figure().subplots())
    assert [label.get_text() for label in ax.get_yticklabels()] == [str(k) for k in range(15, 40)]


def test_predictions_of_a_regression():
    y = np.arange(8000.0)
    ax = plots.predictions(y, y + 1, ax=Figure().subplots(), target_name="price $", title="t")
    points = ax.collections[0].get_offsets()
    assert len(points) == 5000
    np.testing.assert_array_equal(points[:, 1] - points[:, 0], 1)
    assert ax.get_xlabel() == r"price \$"


def test_importances_and_reliability():
    falls = np.array([[0.2, 0.4], [0.1, 0.1]])
    ax = plots.importances(["sex", "age"], falls, ax=Figure().subplots(), score="accuracy")
    bars = sorted(ax.patches, key=lambda bar: -bar.get_y())
    np.testing.assert_allclose([bar.get_width() for bar in bars], [0.3, 0.1])
    assert ax.get_xlabel() == "decrease of accuracy"
    ax = plots.reliability([0.1, 0.9], [0.2, 0.8], [5, 10], ax=Figure().subplots(), label="p")
    np.testing.assert_allclose(ax.lines[1].get_xydata(), [[0.1, 0.2], [0.9, 0.8]])
    assert ax.collections[0].get_sizes().tolist() == [110, 200]


def test_estimators_are_no_networks():
    model = fastnn.MLPClassifier()
    with pytest.raises(
        TypeError, match=r"got MLPClassifier; for estimators .*DecisionBoundaryDispl"
    ):
        plots.decision_boundary(model, [[0.0, 1.0]], [0])
