"""Remarks on the tables to which an encoding was applied."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from fastnn.datasets.table import listed

EXAMPLES = 3


@dataclass
class Remarks:
    """Remarks on one table, or on all parts of a large one.

    Attributes
    ----------
    ignored : list of str
        Columns that do not occur in the training table.
    unknown : dict
        For each column: number of rows with unknown categories, and examples of these categories.
    odd : dict
        For each column: its kind, and examples of text that is not of this kind.
    below : dict
        For each column with a logarithm: number of rows with values far below the smallest training
        value, that value, and examples.
    in_order : bool
        Whether columns were matched by position, since the table has no column names.

    Examples
    --------
    >>> from fastnn.tables import Encoding, Remarks
    >>> encoding = Encoding.fit({"colour": ["red", "blue", "red"]})
    >>> remarks = Remarks()
    >>> X = encoding.transform({"colour": ["green"]}, remarks)
    >>> print(*remarks.lines())
    column 'colour': 1 row has a category that training did not have ('green')
    """

    ignored: list[str] = field(default_factory=list)
    unknown: dict[str, tuple[int, list[str]]] = field(default_factory=dict)
    odd: dict[str, tuple[str, list[str]]] = field(default_factory=dict)
    below: dict[str, tuple[int, float, list[str]]] = field(default_factory=dict)
    in_order: bool = False

    def add_unknown(self, name: str, n_rows: int, categories: Iterable[str]) -> None:
        """Record rows with unknown categories.

        Examples
        --------
        >>> from fastnn.tables import Remarks
        >>> remarks = Remarks()
        >>> remarks.add_unknown("colour", 2, ["green"])
        >>> print(*remarks.lines())
        column 'colour': 2 rows have categories that training did not have ('green')
        """
        before, examples = self.unknown.get(name, (0, []))
        self.unknown[name] = before + n_rows, _some(examples, categories)

    def add_odd(self, name: str, kind: str, texts: Iterable[str]) -> None:
        """Record texts that are not of the column's kind.

        Examples
        --------
        >>> from fastnn.tables import Remarks
        >>> remarks = Remarks()
        >>> remarks.add_odd("size", "number", ["large"])
        >>> remarks.lines()
        ["column 'size': 'large' is no number and counted as missing"]
        """
        self.odd[name] = kind, _some(self.odd.get(name, ("", []))[1], texts)

    def add_below(self, name: str, floor: float, values: np.ndarray) -> None:
        """Record values far below ``floor``, at which they were clipped before the logarithm.

        Examples
        --------
        >>> import numpy as np
        >>> from fastnn.tables import Remarks
        >>> remarks = Remarks()
        >>> remarks.add_below("income", 1.0, np.array([-5.0]))
        >>> list(remarks.below)
        ['income']
        """
        before, _, examples = self.below.get(name, (0, floor, []))
        texts = (f"{value:.6g}" for value in values.tolist())
        self.below[name] = before + len(values), floor, _some(examples, texts)

    def lines(self) -> list[str]:
        """The remarks, one per line.

        Examples
        --------
        >>> from fastnn.tables import Encoding, Remarks
        >>> encoding = Encoding.fit({"colour": ["red", "blue", "red"]})
        >>> remarks = Remarks()
        >>> X = encoding.transform({"colour": ["red"], "size": [3]}, remarks)
        >>> remarks.lines()
        ["not used: 'size'"]
        """
        found = []
        if self.in_order:
            found.append("the table has no column names: columns are taken in order")
        if self.ignored:
            found.append(f"not used: {listed(self.ignored)}")
        for name, (count, examples) in self.unknown.items():
            rows = "row has a category" if count == 1 else "rows have categories"
            found.append(
                f"column {name!r}: {count:,} {rows} that training did not have ("
                f"{listed(examples)}{', ...' if len(examples) == EXAMPLES else ''})"
            )
        return [*found, *self.value_lines()]

    def value_lines(self) -> list[str]:
        """Remarks on values that were clipped or counted as missing, one per line.

        Examples
        --------
        >>> from fastnn.tables import Encoding, Remarks
        >>> encoding = Encoding.fit({"size": [1.0, 2.0, 4.0]})
        >>> remarks = Remarks()
        >>> X = encoding.transform({"size": ["3", "large"]}, remarks)
        >>> remarks.value_lines()
        ["column 'size': 'large' is no number and counted as missing"]
        """
        found = []
        for name, (count, floor, examples) in self.below.items():
            rows = "row" if count == 1 else "rows"
            more = ", ..." if len(examples) == EXAMPLES else ""
            found.append(
                f"column {name!r}: {count:,} {rows} ({', '.join(examples)}{more}) far below "
                f"{floor:.6g}, the smallest value of training, as which the logarithm counts them"
            )
        found += self.odd_lines()
        return found

    def odd_lines(self) -> list[str]:
        """Remarks on texts that are not of the column's kind, one per line.

        Examples
        --------
        >>> from fastnn.tables import Remarks
        >>> remarks = Remarks()
        >>> remarks.add_odd("size", "number", ["large"])
        >>> remarks.odd_lines()
        ["column 'size': 'large' is no number and counted as missing"]
        """
        found = []
        for name, (kind, examples) in self.odd.items():
            are = "is" if len(examples) == 1 else "are"
            found.append(
                f"column {name!r}: {listed(examples)} {are} no {kind} and counted as missing"
            )
        return found


def _some(examples: list[str], more: Iterable[str]) -> list[str]:
    return list(dict.fromkeys([*examples, *more]))[:EXAMPLES]
