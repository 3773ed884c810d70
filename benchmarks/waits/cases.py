"""What is timed: public calls as their users write them, by case and library.

A case is a function of a :class:`Library`, which returns the call to time, or None if the library
has no such thing. Everything before the call (data, a fitted model) is made once.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

Call = Callable[[], Any]


class Library:
    """A library as its users call it; each works in a process of its own."""

    title = ""

    def classifier(self, hidden: tuple[int, ...], **settings: Any) -> Any:
        """An estimator with scikit-learn's interface, or None."""
        return None

    def regressor(self, hidden: tuple[int, ...], **settings: Any) -> Any:
        """The same for regression."""
        return None

    def epoch(self, sizes: list[int], X: np.ndarray, y: np.ndarray, batch: int) -> Call:
        """One epoch of a new relu network with Adam, shuffled."""
        raise NotImplementedError

    def step(self, sizes: list[int], X: np.ndarray, y: np.ndarray) -> Call:
        """One step with a batch of the user's own."""
        raise NotImplementedError

    def predict(self, sizes: list[int], X: np.ndarray) -> Call:
        """Probabilities of NumPy rows by a network, as a NumPy array."""
        raise NotImplementedError


class ScikitLearn(Library):
    """scikit-learn's ``MLPClassifier`` and ``MLPRegressor``."""

    title = "scikit-learn"

    def classifier(self, hidden, **settings):
        from sklearn.neural_network import MLPClassifier

        return MLPClassifier(hidden_layer_sizes=hidden, random_state=0, **settings)

    def regressor(self, hidden, **settings):
        from sklearn.neural_network import MLPRegressor

        return MLPRegressor(hidden_layer_sizes=hidden, random_state=0, **settings)

    def epoch(self, sizes, X, y, batch):
        net = self.classifier(tuple(sizes[1:-1]), batch_size=batch, max_iter=1)
        return lambda: net.fit(X, y)

    def step(self, sizes, X, y):
        net = self.classifier(tuple(sizes[1:-1]), batch_size=len(X))
        classes = np.arange(sizes[-1])
        return lambda: net.partial_fit(X, y, classes=classes)

    def predict(self, sizes, X):
        net, classes = self.classifier(tuple(sizes[1:-1])), np.arange(sizes[-1])
        net.partial_fit(np.zeros((len(classes), sizes[0]), X.dtype), classes, classes=classes)
        return lambda: net.predict_proba(X)


class Estimators(ScikitLearn):
    """fastnn's estimators, which replace scikit-learn's by a change of the import."""

    title = "fastnn, estimators"

    def classifier(self, hidden, **settings):
        import fastnn

        return fastnn.MLPClassifier(hidden_layer_sizes=hidden, random_state=0, **settings)

    def regressor(self, hidden, **settings):
        import fastnn

        return fastnn.MLPRegressor(hidden_layer_sizes=hidden, random_state=0, **settings)


class Networks(Library):
    """``fastnn.Network``."""

    title = "fastnn, Network"

    def network(self, sizes):
        import fastnn

        return fastnn.Network(sizes, activation="relu", dtype="float32", random_state=0)

    def epoch(self, sizes, X, y, batch):
        return lambda: self.network(sizes).fit(X, y, optimizer="adam", epochs=1, batch_size=batch)

    def step(self, sizes, X, y):
        net = self.network(sizes)
        return lambda: net.partial_fit(X, y)

    def predict(self, sizes, X):
        net = self.network(sizes)
        return lambda: net.predict_proba(X)


class PyTorch(Library):
    """PyTorch, eager, as in its tutorials."""

    title = "PyTorch"

    def network(self, sizes):
        import torch

        layers = []
        for fan_in, fan_out in itertools.pairwise(sizes):
            layers += [torch.nn.Linear(fan_in, fan_out), torch.nn.ReLU()]
        return torch.nn.Sequential(*layers[:-1])

    def epoch(self, sizes, X, y, batch):
        import torch

        def call():
            data = torch.utils.data.TensorDataset(torch.as_tensor(X), torch.as_tensor(y))
            batches = torch.utils.data.DataLoader(data, batch, shuffle=True)
            net, loss = self.network(sizes), torch.nn.CrossEntropyLoss()
            optimizer = torch.optim.Adam(net.parameters())
            for inputs, labels in batches:
                optimizer.zero_grad()
                loss(net(inputs), labels).backward()
                optimizer.step()

        return call

    def step(self, sizes, X, y):
        import torch

        net, loss = self.network(sizes), torch.nn.CrossEntropyLoss()
        optimizer = torch.optim.Adam(net.parameters())

        def call():
            optimizer.zero_grad()
            loss(net(torch.as_tensor(X)), torch.as_tensor(y)).backward()
            optimizer.step()

        return call

    def predict(self, sizes, X):
        import torch

        net = self.network(sizes).eval()

        def call():
            with torch.inference_mode():
                return torch.softmax(net(torch.as_tensor(X)), 1).numpy()

        return call


class Keras(Library):
    """Keras with TensorFlow."""

    title = "Keras"

    def network(self, sizes):
        import keras

        layers = [keras.Input((sizes[0],))]
        layers += [keras.layers.Dense(units, activation="relu") for units in sizes[1:-1]]
        net = keras.Sequential([*layers, keras.layers.Dense(sizes[-1], activation="softmax")])
        net.compile("adam", "sparse_categorical_crossentropy")
        return net

    def epoch(self, sizes, X, y, batch):
        return lambda: self.network(sizes).fit(X, y, batch_size=batch, epochs=1, verbose=0)

    def step(self, sizes, X, y):
        net = self.network(sizes)
        return lambda: net.train_on_batch(X, y)

    def predict(self, sizes, X):
        net = self.network(sizes)
        return lambda: net.predict(X, verbose=0)


LIBRARIES: dict[str, Library] = {
    "estimators": Estimators(),
    "network": Networks(),
    "sklearn": ScikitLearn(),
    "torch": PyTorch(),
    "keras": Keras(),
}
FASTNN = ("estimators", "network")

# --- the cases -------------------------------------------------------------------


def _gaussian(rows: int, features: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(rows, features)).astype(np.float32)
    return X, (X[:, : classes - 1] > 0).sum(axis=1)


def mnist_epoch(library: Library) -> Call | None:
    """one epoch of MNIST, 784-128-64-10, batch 128"""
    from fastnn.bench import local_mnist, random_images

    try:
        X, y = local_mnist(60_000, None)
    except (OSError, ValueError):
        X, y = random_images(60_000, 784, 10)
    return library.epoch([784, 128, 64, 10], X, y.astype(np.int64), 128)


def rows_epoch(library: Library) -> Call | None:
    """one epoch of 300,000 x 20, 20-32-2, batch 200"""
    X, y = _gaussian(300_000, 20, 2)
    return library.epoch([20, 32, 2], X, y, 200)


def two_rows(library: Library) -> Call | None:
    """one epoch of two rows, 10-16-2"""
    X, _ = _gaussian(2, 10, 2)
    return library.epoch([10, 16, 2], X, np.array([0, 1]), 2)


def step_2(library: Library) -> Call | None:
    """one step with two rows, 10-16-2"""
    X, _ = _gaussian(2, 10, 2)
    return library.step([10, 16, 2], X, np.array([0, 1]))


def step_32(library: Library) -> Call | None:
    """one step with 32 rows, 4-64-64-2"""
    X, y = _gaussian(32, 4, 2)
    return library.step([4, 64, 64, 2], X, y)


def predict_1(library: Library) -> Call | None:
    """probabilities of one row, 4-100-3"""
    X, _ = _gaussian(1, 4, 3)
    return library.predict([4, 100, 3], X)


def predict_10k(library: Library) -> Call | None:
    """probabilities of 10,000 rows, 20-64-64-3"""
    X, _ = _gaussian(10_000, 20, 3)
    return library.predict([20, 64, 64, 3], X)


def digits(library: Library) -> Call | None:
    """digits, default settings, 60 epochs"""
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    net = library.classifier((100,), max_iter=60)
    return net and (lambda: net.fit(X, y))


def sparse(library: Library) -> Call | None:
    """CSR, 3,000 x 5,000, 0.5% stored, 50 units, 10 epochs"""
    import scipy.sparse

    X = scipy.sparse.random(3000, 5000, 0.005, "csr", random_state=0)
    y = (np.asarray(X[:, :500].sum(axis=1)).ravel() > 1.2).astype(int)
    net = library.classifier((50,), max_iter=10)
    return net and (lambda: net.fit(X, y))


def lbfgs(library: Library) -> Call | None:
    """L-BFGS, 10 units, diabetes"""
    from sklearn.datasets import load_diabetes

    X, y = load_diabetes(return_X_y=True)
    net = library.regressor((10,), solver="lbfgs", max_iter=200)
    return net and (lambda: net.fit(X, y))


def partial_fit(library: Library) -> Call | None:
    """partial_fit of two rows, 10-16-2"""
    X, _ = _gaussian(2, 10, 2)
    y, classes = np.array([0, 1]), np.array([0, 1])
    net = library.classifier((16,))
    return net and (lambda: net.partial_fit(X, y, classes=classes))


def _pipeline(library: Library, **settings: Any) -> Any:
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    net = library.classifier((100,), **settings)
    return net and make_pipeline(StandardScaler(), net)


def cross_validation(library: Library) -> Call | None:
    """cross_val_score, 5 folds, scaler and classifier, breast_cancer"""
    from sklearn.datasets import load_breast_cancer
    from sklearn.model_selection import cross_val_score

    X, y = load_breast_cancer(return_X_y=True)
    pipeline = _pipeline(library, max_iter=50)
    return pipeline and (lambda: cross_val_score(pipeline, X, y, cv=5))


def grid_search(library: Library) -> Call | None:
    """GridSearchCV, 9 settings, 5 folds, 2 processes, breast_cancer"""
    from sklearn.datasets import load_breast_cancer
    from sklearn.model_selection import GridSearchCV

    X, y = load_breast_cancer(return_X_y=True)
    pipeline = _pipeline(library, max_iter=50)
    settings = {
        "mlpclassifier__alpha": [1e-4, 1e-2, 1.0],
        "mlpclassifier__learning_rate_init": [1e-3, 3e-3, 1e-2],
    }
    return pipeline and (lambda: GridSearchCV(pipeline, settings, cv=5, n_jobs=2).fit(X, y))


def frame(library: Library) -> Call | None:
    """predict of one row of a DataFrame, iris"""
    from sklearn.datasets import load_iris

    X, y = load_iris(return_X_y=True, as_frame=True)
    net = library.classifier((100,), max_iter=50)
    if net is None:
        return None
    net.fit(X, y)
    row = X.iloc[:1]
    return lambda: net.predict(row)


CASES = (
    mnist_epoch,
    rows_epoch,
    two_rows,
    step_2,
    step_32,
    predict_1,
    predict_10k,
    frame,
    partial_fit,
    digits,
    sparse,
    lbfgs,
    cross_validation,
    grid_search,
)
