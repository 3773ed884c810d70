"""
Two rings
=========

Accuracy of networks on overlapping rings, compared with the best possible one.
"""

from fastnn import experiments

result = experiments.circles(seeds=2, epochs=300)
for sentence in result.findings:
    print("-", sentence)

# %%
# ``figures`` is a dict of Matplotlib figures by name.

figures = result.figures
