"""Export to one C99 file with the weights, functions that predict, and a self-test."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from fastnn.export.c_selftest import N_VECTORS
from fastnn.export.c_source import Source
from fastnn.export.c_table import table_to_c
from fastnn.export.from_models import describe
from fastnn.export.plain import PlainNetwork
from fastnn.export.table import describe_table
from fastnn.network import Network
from fastnn.validation import as_matrix

if TYPE_CHECKING:
    from fastnn.estimators import MLPClassifier, MLPRegressor
    from fastnn.tables import TableModel
    from fastnn.tables.base import BaseTabular


def to_c(
    model: Network | MLPClassifier | MLPRegressor | TableModel | BaseTabular | PlainNetwork,
    name: str = "model",
    *,
    vectors: Any = None,
    jacobian: bool = False,
) -> str:
    """Return C99 source that needs only the standard ``math.h`` and, for tables, ``string.h``.

    With ``name="model"``, and T float or double according to the network's dtype, it defines

    - for a regression ``void model_predict(const T *x, T *y)``;
    - for a classifier ``int model_predict(const T *x)``, which returns the position of the label
      in ``model_classes``, and ``void model_predict_proba(const T *x, T *p)``;
    - for several outputs of binary_cross_entropy ``void model_predict(const T *x, int *labels)``
      and ``model_predict_proba``;
    - with ``jacobian`` also ``void model_jacobian(const T *x, T *out, T *jac)``: the values or
      probabilities, and their derivatives with respect to the features, in row-major order;
    - ``MODEL_FEATURES`` and ``MODEL_OUTPUTS``, the numbers of inputs and of values or classes.

    A float network that standardises does so in double. It has a second version of each function,
    with ``const double *x`` and the suffix ``_double`` (for a regression ``void
    model_predict_double(const double *x, double *y)``). Use these for large values such as
    timestamps: at 1.7e9 a float has a spacing of 128, so that float arguments have lost digits.

    For a model of tables, the source encodes the columns and defines

    - ``void model_predict(const double *numbers, const int *codes, double *y)``, or for a
      classifier ``int model_predict(numbers, codes)`` and ``void model_predict_proba(numbers,
      codes, double *p)``; for an ensemble these return the weighted mean of its members;
    - ``numbers``: the numbers, booleans (1 or 0) and dates (seconds since 1970-01-01 00:00 UTC) of
      a row, NAN for missing values; ``codes``: for each column of categories the position in
      ``model_categories_COLUMN``, -1 if missing or unknown; both in the order given in the
      comment at the top of the file;
    - ``int model_code_COLUMN(const char *text)``, the code of a category;
    - ``double model_seconds(year, month, day, hour, minute, second)``, if there are dates;
    - ``MODEL_NUMBERS`` and ``MODEL_CODES``, and the positions of columns,
      ``model_at_number_COLUMN`` and ``model_at_code_COLUMN``.

    An ensemble without an encoding has ``predict`` and ``predict_proba`` for ``const double *x``,
    with values and probabilities as double.

    The functions are reentrant: they have no state, allocate no memory, and use a few rows of
    numbers on the stack. Compiled with ``-DMODEL_TEST`` the file is a program that checks the
    predictions and returns 0 if they are correct.

    Parameters
    ----------
    model : Network, MLPClassifier, MLPRegressor, Pipeline or PlainNetwork; TableModel, \
        TabularClassifier, TabularRegressor or a Pipeline that begins with a TableEncoder
        The model to export.
    name : str, default="model"
        Prefix of all names.
    vectors : array-like, shape (samples, features), or table, optional
        Inputs of the self-test; default: random inputs, with the mean and standard deviation of
        the training data if the network standardises.
    jacobian : bool, default=False
        Whether to add the functions for the derivatives; not for tables.

    Returns
    -------
    str

    Raises
    ------
    ValueError
        If ``name`` is not a C identifier, if the vectors do not match the model, or if labels are
        neither numbers nor text.

    Examples
    --------
    >>> import fastnn
    >>> net = fastnn.Network([2, 3, 2], random_state=0)
    >>> history = net.fit([[0.0, 1.0], [1.0, 0.0]], [0, 1])
    >>> source = fastnn.export.to_c(net, "moons")
    >>> "moons_predict" in source
    True
    """
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
        raise ValueError(f"name must be a C identifier that begins with a letter; got {name!r}")
    table = describe_table(model)
    if table is not None:
        if jacobian:
            raise ValueError(
                "derivatives are by numbers and of one network, not by a table: "
                "export model.network"
            )
        return table_to_c(table, name, vectors)
    plain = describe(cast(Any, model))
    if vectors is None:
        x = np.random.default_rng(0).standard_normal((N_VECTORS, plain.sizes[0]))
        if plain.input_shift is not None and plain.input_scale is not None:
            x = x / plain.input_scale + plain.input_shift
        x = x.astype(plain.dtype)
    else:
        x = as_matrix("vectors", vectors, plain.sizes[0], plain.dtype)
    return Source(plain, name, x, jacobian).text()
