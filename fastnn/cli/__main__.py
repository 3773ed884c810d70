"""Entry point of ``python -m fastnn.cli``, equivalent to ``fastnn``."""

import sys

from fastnn.cli import main

if __name__ == "__main__":
    sys.exit(main())
