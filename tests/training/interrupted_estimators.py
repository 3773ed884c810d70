"""Interrupt estimators, also for tables: ``interrupted_estimators.py BACKEND COUNT [KIND ...]``.

A training that was interrupted before its first epoch, in which nothing remains, is repeated with a
later signal.
"""

import functools

import interrupting
import numpy as np
from interrupting import Kind, Steps

import fastnn

rng = np.random.default_rng(0)
X = rng.normal(size=(2000, 20))
LABELS = (X[:, 0] * X[:, 1] > 0).astype(int)
VALUES = X[:, :2] * X[:, 2:4]
BATCH = 200
TABLE = {
    "x": X[:400, 0],
    "gaps": np.where(X[:400, 1] > 1, np.nan, X[:400, 1]),
    "kind": np.array(["a", "b", "c"], object)[np.arange(400) % 3],
}
MANY_ROWS = {name: np.tile(values, 50) for name, values in TABLE.items()}
LAST = 10**6  # epochs of an interrupted training, by which the learning rate of tables is chosen


def estimator(is_classifier, solver, backend):
    """An estimator; LM with fewer samples, so that a step takes milliseconds."""
    settings = {"solver": solver, "backend": backend, "random_state": 0, "tol": 0}
    settings["n_iter_no_change"] = 10**6
    make = fastnn.MLPClassifier if is_classifier else fastnn.MLPRegressor
    hidden, rows = ((8,), 500) if solver == "lm" else ((20,), 2000)
    model = make(hidden_layer_sizes=hidden, **settings)
    targets = (LABELS if is_classifier else VALUES)[:rows]
    return model, lambda epochs: model.set_params(max_iter=epochs).fit(X[:rows], targets)


def parameters(model):
    """All parameters of a model in one vector."""
    return np.concatenate([part.ravel() for part in [*model.coefs_, *model.intercepts_]])


@functools.cache
def after_two_epochs(make, backend):
    """Parameters of a training that nothing interrupted."""
    model, fit = make(backend)
    fit(2)
    return parameters(model)


@functools.cache
def steps(make, backend):
    """Steps of a training by sgd or adam that nothing interrupts."""
    return Steps(lambda: make(backend), lambda model, result: model.loss_curve_)


@functools.cache
def after_epochs(make, backend, epochs):
    """Parameters and losses after so many epochs of lbfgs or lm."""
    model, fit = make(backend)
    fit(epochs)
    return parameters(model), getattr(model, "loss_curve_", model.loss_)


def wrong_estimator(model, result, call, make, backend):
    """Describe what does not agree with the number of epochs; "" if all does."""
    epochs = model.n_iter_
    samples, batches = (500, 1) if model.solver == "lm" else (2000, 2000 // BATCH)
    if model.solver != "lbfgs":
        updates = model._optimizer.updates
        counters = len(model.loss_curve_), updates // batches, model.t_ / samples
        if set(counters) != {epochs}:
            return f"{epochs} epochs, {counters}"
    if model.solver in ("sgd", "adam"):
        found = steps(make, backend).wrong(
            model._network().params, model._optimizer, np.array(model.loss_curve_)
        )
        if found:
            return found
    elif epochs:
        params, losses = after_epochs(make, backend, epochs)
        if losses != getattr(model, "loss_curve_", model.loss_):
            return f"not the losses of {epochs} epochs"
        if (parameters(model) != params).any():
            return f"not the parameters of epoch {epochs}"
    call(2)
    other = (parameters(model) != after_two_epochs(make, backend)).any()
    return "other parameters in the next training" if other else ""


def tabular(n_members, backend):
    """A classifier for tables: one network, or several in two threads."""
    model = fastnn.TabularClassifier(
        n_members=n_members, n_threads=2, backend=backend, random_state=0
    )
    return model, lambda epochs: model.set_params(n_epochs=epochs).fit(TABLE, LABELS[:400])


@functools.cache
def stopped_after(make, backend, epochs):
    """Parameters and predictions of a model that is interrupted at the end of an epoch."""
    model, fit = make(backend)

    def after_epoch(losses):
        if len(losses) == epochs:
            raise KeyboardInterrupt

    model._after_epoch = after_epoch
    fit(LAST)
    return model.networks_[0].params.copy(), model.predict_proba(TABLE)


@functools.cache
def table_after_two_epochs(make, backend):
    """Predictions after a training that nothing interrupted."""
    model, fit = make(backend)
    fit(2)
    return model.predict_proba(TABLE)


def wrong_table(model, result, call, make, backend):
    """Describe what does not agree with the number of epochs; "" if all does."""
    for net, losses, errors, best in zip(
        model.networks_,
        model.loss_curves_,
        model.validation_curves_,
        model.best_iter_,
        strict=True,
    ):
        if len(losses) != len(errors) or errors[best - 1] != min(errors):
            return f"{len(losses)} losses, {len(errors)} errors, best epoch {best}"
        if not np.isfinite(net.params).all():
            return "parameters that are not finite"
    if model.n_members == 1:
        params, predictions = stopped_after(make, backend, model.n_iter_)
        if (params != model.networks_[0].params).any():
            return f"not the parameters after {model.n_iter_} epochs"
        if (predictions != model.predict_proba(TABLE)).any():
            return "other predictions"
    call(2)
    other = (model.predict_proba(TABLE) != table_after_two_epochs(make, backend)).any()
    return "other predictions after the next training" if other else ""


@functools.cache
def fitted(backend):
    """A classifier, with its predictions of many rows."""
    model = fastnn.TabularClassifier(n_epochs=2, backend=backend, random_state=0)
    model.fit(TABLE, LABELS[:400])
    return model, model.predict_proba(MANY_ROWS)


def predictions(backend):
    """Repeated predictions of many rows of a table."""
    model = fitted(backend)[0]

    def calls(epochs):
        for _ in range(epochs):
            model.predict_proba(MANY_ROWS)

    return model, calls


def wrong_predictions(model, result, call, make, backend):
    """Describe whether predictions after the interrupt differ; "" if they do not."""
    equal = (model.predict_proba(MANY_ROWS) == fitted(backend)[1]).all()
    return "" if equal else "other predictions"


def refits(backend):
    """Alternate between tables of different columns and classes."""
    model = fastnn.TabularClassifier(n_epochs=1, backend=backend, random_state=0)
    tables = [(TABLE, LABELS[:400]), ({"other": X[:60, 4]}, np.array(["u", "v", "w"] * 20))]
    model.fit(*tables[0])

    def calls(epochs):
        for k in range(epochs):
            model.fit(*tables[k % 2])
            if model.stopped_ == "interrupted":  # in the last lines of a fit
                return

    return model, calls


def wrong_refit(model, result, call, make, backend):
    """Describe whether the model is neither that of one table nor that of the other."""
    columns = model.feature_names_in_.tolist()
    rows = TABLE if "kind" in columns else {"other": X[:60, 4]}
    if columns != list(rows) or model.n_features_in_ != len(rows):
        return f"columns {columns}, {model.n_features_in_} features"
    given = model.predict_proba(rows)
    if given.shape[1] != len(model.classes_) or not np.isfinite(given).all():
        return f"{given.shape[1]} probabilities, {len(model.classes_)} classes"
    return ""


def has_begun(model):
    """Whether at least one epoch was done."""
    return getattr(model, "n_iter_", 0) > 0


KINDS = {
    f"{'classifier' if is_classifier else 'regressor'} {solver}": Kind(
        functools.partial(estimator, is_classifier, solver), wrong_estimator, has_begun
    )
    for is_classifier in (True, False)
    for solver in ("sgd", "adam", "lbfgs", "lm")
}
KINDS["table"] = Kind(functools.partial(tabular, 1), wrong_table, has_begun)
KINDS["members"] = Kind(functools.partial(tabular, 3), wrong_table, has_begun)
KINDS["table refit"] = Kind(refits, wrong_refit, None)
KINDS["table predict"] = Kind(predictions, wrong_predictions, None)

if __name__ == "__main__":
    interrupting.main(KINDS)
