"""
More data sets
==============

Blobs, quantiles and digits.
"""

from fastnn import experiments

result = experiments.more_data(seeds=1)
for sentence in result.findings:
    print("-", sentence)

# %%
# ``figures`` is a dict of Matplotlib figures by name.

figures = result.figures
