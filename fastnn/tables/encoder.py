"""``TableEncoder``: encoding of tables as a scikit-learn transformer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from fastnn.tables.encoding import SCALINGS, Encoding
from fastnn.tables.remarks import Remarks
from fastnn.validation import as_integer


class TableEncoder(TransformerMixin, BaseEstimator):
    """Encode a table with text, dates and missing values as numbers.

    Parameters
    ----------
    columns : mapping of str to str, optional
        Kinds of columns by name, instead of detecting them: "number", "boolean", "category",
        "date" or "drop".
    scaling : {"robust-clip", "standard"} or None, default="robust-clip"
        "robust-clip": each encoded column minus its median, divided by its interquartile range (or
        half its range, if that is 0), then limited smoothly to 3 by ``z / sqrt(1 + (z / 3)^2)``.
        "standard": minus the mean, divided by the standard deviation. Constant columns become 0.
    max_categories : int, default=256
        Maximum number of categories of a column; less frequent ones are treated as unknown.
    keep_index : bool, default=False
        Keep columns that only number or name the rows.
    log_features : bool, default=False
        Add the logarithm of positive numbers with a long tail (skewness above 1, at least ten
        values) as a further column, unless the kind is given.
    missing_values : number, str, list of them, or dict by column name, optional
        Values that count as missing, such as -999, ``[-999, "unknown"]`` or ``{"age": [0, 999]}``,
        when training and later. Numbers and dates are compared as such: ``"-999,0"`` is -999.

    Attributes
    ----------
    encoding_ : fastnn.tables.Encoding
        The learned encoding as plain data.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Names of the columns of the table.

    Notes
    -----
    =========  ====================================================================================
    kind       encoded as
    =========  ====================================================================================
    number     the number, the median if missing; its logarithm, if ``log_features`` adds it; and an
               indicator column for missing values, if there were any
    boolean    +1, -1, 0 if missing
    category   one column per category, 1 or 0; all 0 if missing or unknown. Two categories: one
               column, +1 for the first, -1 for the second, 0 for neither
    date       year, month, weekday, hour and days before the latest date, unless constant;
               medians if missing, and an indicator column for missing values, if there were any
    drop       left out: columns that are empty, constant, identifiers of rows, or free text
    =========  ====================================================================================

    Columns are matched by name, in any order; additional ones are ignored. Columns of an array
    without names are taken in order.

    Examples
    --------
    >>> table = {"size": [1.0, 3.0, 8.0], "sex": ["m", "f", None]}
    >>> encoder = TableEncoder(scaling=None)
    >>> encoder.fit_transform(table).tolist()
    [[1.0, -1.0], [3.0, 1.0], [8.0, 0.0]]
    """

    def __init__(
        self,
        columns: Mapping[str, str] | None = None,
        *,
        scaling: str | None = "robust-clip",
        max_categories: int = 256,
        keep_index: bool = False,
        log_features: bool = False,
        missing_values: Any = None,
    ) -> None:
        self.columns = columns
        self.scaling = scaling
        self.max_categories = max_categories
        self.keep_index = keep_index
        self.log_features = log_features
        self.missing_values = missing_values

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn the columns.

        Parameters
        ----------
        X : table or array-like, shape (rows, columns)
            A DataFrame of pandas or polars, a table of pyarrow, a dict of columns or an array.
        y : ignored
            For use in pipelines.

        Returns
        -------
        TableEncoder

        Raises
        ------
        ValueError
            If X is not a table, or all columns are left out.

        Examples
        --------
        >>> import fastnn
        >>> table = {"size": [1.0, 3.0, 8.0], "colour": ["red", "blue", "red"], "note": [""] * 3}
        >>> encoder = fastnn.TableEncoder(columns={"size": "category"}).fit(table)
        >>> [(column.name, column.kind) for column in encoder.encoding_.columns]
        [('size', 'category'), ('colour', 'category'), ('note', 'drop')]
        """
        if self.scaling not in SCALINGS:
            raise ValueError(
                f"scaling must be 'robust-clip', 'standard' or None; got {self.scaling!r}"
            )
        self.encoding_ = Encoding.fit(
            X,
            kinds=self.columns,
            scaling=self.scaling,
            max_categories=as_integer("max_categories", self.max_categories, 2),
            keep_index=self.keep_index,
            log_features=self.log_features,
            missing_values=self.missing_values,
        )
        self._set_names()
        return self

    def _set_names(self) -> None:
        names = [code.name for code in self.encoding_.columns]
        self.n_features_in_ = len(names)
        self.feature_names_in_ = np.array(names, object)

    def transform(self, X: Any, remarks: Remarks | None = None) -> np.ndarray:
        """Encode a table.

        Parameters
        ----------
        X : table with the columns of training
            Samples, one per row.
        remarks : fastnn.tables.Remarks, optional
            Collects remarks: ignored columns, unknown categories, values that were clipped before
            the logarithm, and text that is not of the column's kind. If None, warnings are issued
            for the last two.

        Returns
        -------
        ndarray of float64, shape (rows, encoded columns)

        Raises
        ------
        ValueError
            If columns are missing; the message names them.

        Examples
        --------
        >>> import fastnn
        >>> table = {"size": [1.0, None, 8.0], "colour": ["red", "blue", "red"]}
        >>> encoder = fastnn.TableEncoder(scaling=None).fit(table)
        >>> encoder.transform({"colour": ["blue", "red"], "size": [2.0, None]})
        array([[ 2. ,  0. ,  1. ],
               [ 4.5,  1. , -1. ]])
        """
        check_is_fitted(self, "encoding_")
        return self.encoding_.transform(X, remarks)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Names of the encoded columns: "size", "size=missing", "colour=red", "day.month".

        Parameters
        ----------
        input_features : ignored
            For use in pipelines.

        Returns
        -------
        ndarray of str

        Examples
        --------
        >>> import fastnn
        >>> table = {"size": [1.0, None, 8.0], "colour": ["red", "blue", "red"]}
        >>> encoder = fastnn.TableEncoder(scaling=None).fit(table)
        >>> encoder.get_feature_names_out()
        array(['size', 'size=missing', 'colour=blue'], dtype=object)
        """
        check_is_fitted(self, "encoding_")
        return np.array(self.encoding_.names, object)

    def summary(self) -> str:
        """Description of the encoding, one line per column.

        Returns
        -------
        str

        Examples
        --------
        >>> import fastnn
        >>> table = {"size": [1.0, None, 8.0], "colour": ["red", "blue", "red"]}
        >>> encoder = fastnn.TableEncoder(scaling=None).fit(table)
        >>> print(encoder.summary())
        size    number; 1 of 3 missing (filled with 4.5), and a missing-value indicator
        colour  2 categories (blue, red), as +1 and -1
        """
        check_is_fitted(self, "encoding_")
        rows = self.encoding_.summary()
        width = max(len(name) for name, _ in rows)
        return "\n".join(f"{name:<{width}}  {what}" for name, what in rows)

    def to_state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """The learned encoding as plain data and arrays, for storage.

        Returns
        -------
        state : dict
            JSON-serializable data.
        arrays : dict of str to ndarray of float64, 1-D

        Examples
        --------
        >>> import fastnn
        >>> table = {"size": [1.0, None, 8.0], "colour": ["red", "blue", "red"]}
        >>> encoder = fastnn.TableEncoder(scaling=None).fit(table)
        >>> state, arrays = encoder.to_state()
        >>> sorted(state)
        ['columns', 'positional', 'scaling', 'version']
        """
        check_is_fitted(self, "encoding_")
        return self.encoding_.to_state()

    @classmethod
    def from_state(cls, state: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> TableEncoder:
        """Restore an encoder from the result of :meth:`to_state`.

        Returns
        -------
        TableEncoder
            The only constructor argument that is restored is ``scaling``.

        Examples
        --------
        >>> import fastnn
        >>> table = {"size": [1.0, 2.5, 4.0], "colour": ["red", "blue", "red"]}
        >>> encoder = fastnn.TableEncoder().fit(table)
        >>> again = fastnn.TableEncoder.from_state(*encoder.to_state())
        >>> bool((again.transform(table) == encoder.transform(table)).all())
        True
        """
        encoding = Encoding.from_state(state, arrays)
        encoder = cls(scaling=encoding.scaling)
        encoder.encoding_ = encoding
        encoder._set_names()
        return encoder

    def __sklearn_tags__(self) -> Any:
        """Declare that text, categories and missing values are accepted."""
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        tags.input_tags.allow_nan = True
        return tags
