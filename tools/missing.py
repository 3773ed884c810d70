"""One line if the compiled backend is missing: an installation goes on without a compiler."""

from fastnn.backends import why_missing

reason = why_missing("cython")
if reason:
    print(f"note: {reason}")
