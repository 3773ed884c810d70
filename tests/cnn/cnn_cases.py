"""Settings and tolerances for the tests of the convolutional network."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TINY = {"data": "digits", "batch_size": 32, "preset": "fast", "summaries": "off"}
N_PARAMS = 3_274_634

# Two compiled float32 programs for the same sums of up to 3,136 products.
CLOSE = {"rtol": 1e-4, "atol": 1e-5}
