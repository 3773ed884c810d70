"""Pipelines of scikit-learn: linear scalers go into the exports."""

import warnings

import numpy as np
import pytest
from helpers import assert_same
from sklearn import preprocessing as pre
from sklearn.compose import TransformedTargetRegressor
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import Pipeline, make_pipeline
from test_export import compiled, run_onnx

import fastnn
from fastnn import export
from fastnn.extras import require

rng = np.random.default_rng(0)
X = rng.standard_normal((60, 3)) * [1, 10, 100] + [5, -30, 200]
LABELS = np.where(X[:, 0] + X[:, 1] / 10 > 2, "yes", "no")
VALUES = 1e6 + 1e3 * (X[:, 0] - X[:, 2] / 100)

SCALERS = {
    "standard": pre.StandardScaler(),
    "mean alone": pre.StandardScaler(with_std=False),
    "deviation alone": pre.StandardScaler(with_mean=False),
    "range": pre.MinMaxScaler((-1, 2)),
    "largest": pre.MaxAbsScaler(),
    "robust": pre.RobustScaler(),
    "centre alone": pre.RobustScaler(with_scaling=False),
    "nothing": pre.FunctionTransformer(),
}


def fitted(*steps, dtype="float64", final=None, y=LABELS):
    settings = {"solver": "lbfgs", "max_iter": 30, "random_state": 0}
    final = final or fastnn.MLPClassifier((5,), activation="tanh", **settings)
    model = make_pipeline(*steps, final)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of scikit-learn: not converged
        return model.fit(X.astype(dtype), y)


@pytest.mark.parametrize("name", SCALERS)
def test_scalers_are_folded(name):
    model = fitted(SCALERS[name])
    net = export.describe(model).to_network()
    assert_same(net.predict_proba(X), model.predict_proba(X), "float64", atol=1e-9)
    np.testing.assert_array_equal(net.predict(X), model.predict(X))
    (_, probabilities) = run_onnx(export.to_onnx(model), X)
    assert_same(probabilities, model.predict_proba(X), "float64", atol=1e-9)


def test_several_steps_in_every_export(tmp_path):
    steps = (pre.MinMaxScaler(), "passthrough", pre.StandardScaler(), pre.RobustScaler())
    model = fitted(*steps)
    expected = model.predict_proba(X)
    source = export.to_c(model, vectors=X)
    assert compiled(tmp_path, source, "-DMODEL_TEST").returncode == 0
    described = export.describe(model).to_network()
    assert_same(described.predict_proba(X), expected, "float64", atol=1e-9)
    mlp = export.to_sklearn(model)
    assert_same(mlp.predict_proba(X), expected, "float64", atol=1e-9)
    np.testing.assert_array_equal(mlp.predict(X), model.predict(X))
    assert mlp.solver == "lbfgs"
    torch = require("torch", "this test", "test")
    with torch.no_grad():
        p = export.to_torch(model)(torch.from_numpy(X)).numpy()
    assert_same(p[:, 0], expected[:, 1], "float64", atol=1e-9)
    nested = Pipeline([("outer", pre.StandardScaler()), ("rest", model)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nested.fit(X, LABELS)
    net = export.describe(nested).to_network()
    assert_same(net.predict_proba(X), nested.predict_proba(X), "float64", atol=1e-9)


def test_large_values_keep_their_digits():
    times = 1.7e9 + np.arange(60.0)[:, None]
    final = fastnn.MLPRegressor(hidden_layer_sizes=(5,), solver="lbfgs", max_iter=50)
    model = make_pipeline(pre.StandardScaler(), final)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(times, np.sin(times[:, 0] / 10))
    single = export.describe(model).astype("float32")
    (values,) = run_onnx(export.to_onnx(single, input_dtype="float64"), times)
    np.testing.assert_allclose(values[:, 0], model.predict(times), atol=1e-5)


@pytest.mark.parametrize("transformer", [None, *SCALERS.values()])
@pytest.mark.parametrize("inside", [False, True])
def test_scaled_targets_are_folded(transformer, inside):
    regressor = fastnn.MLPRegressor(hidden_layer_sizes=(4,), solver="lbfgs", max_iter=30)
    if inside:
        final = TransformedTargetRegressor(regressor, transformer=transformer)
        model = fitted(pre.StandardScaler(), final=final, y=VALUES)
    else:
        pipeline = make_pipeline(pre.StandardScaler(), regressor)
        model = TransformedTargetRegressor(pipeline, transformer=transformer)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(X, VALUES)
    net = export.describe(model).to_network()
    np.testing.assert_allclose(net.predict(X), model.predict(X), rtol=1e-10)
    np.testing.assert_allclose(export.to_sklearn(model).predict(X), model.predict(X), rtol=1e-9)


@pytest.mark.filterwarnings("ignore:predictions for the training samples are no better")
def test_unsupported_steps_raise():
    class Own(pre.StandardScaler):
        """May do anything."""

    for step, message in [
        (PCA(2), r"step 'pca' \(PCA\) cannot be exported; of transformers StandardScaler"),
        (pre.QuantileTransformer(n_quantiles=10), r"\(QuantileTransformer\) cannot .* skl2onnx"),
        (pre.MinMaxScaler(clip=True), "step 'minmaxscaler': MinMaxScaler with clip=True"),
        (Own(), r"step 'own' \(Own\) cannot be exported"),
    ]:
        with pytest.raises(ValueError, match=message):
            export.describe(fitted(step))
    with pytest.raises(NotFittedError):
        export.describe(make_pipeline(pre.StandardScaler(), fastnn.MLPClassifier()))
    with pytest.raises(TypeError, match="or a pipeline that ends in one of these; got PCA"):
        export.describe(make_pipeline(pre.StandardScaler(), PCA(2)).fit(X))
    log = TransformedTargetRegressor(
        fastnn.MLPRegressor(solver="lbfgs", tol=1e9), func=np.log, inverse_func=np.exp
    )
    with pytest.raises(ValueError, match="func and inverse_func of TransformedTargetRegressor"):
        export.describe(log.fit(X, VALUES))
    poisson = TransformedTargetRegressor(
        fastnn.MLPRegressor("poisson", solver="lbfgs", tol=1e9), transformer=pre.MaxAbsScaler()
    )
    with pytest.raises(ValueError, match="or are exponentials, cannot be exported"):
        export.describe(poisson.fit(X, VALUES))
