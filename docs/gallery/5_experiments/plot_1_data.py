"""
The data
========

Two moons, and the best possible accuracy.
"""

from fastnn import experiments

result = experiments.data()
for sentence in result.findings:
    print("-", sentence)

# %%
# ``figures`` is a dict of Matplotlib figures by name.

figures = result.figures
