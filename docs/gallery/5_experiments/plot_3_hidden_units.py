"""
Hidden units
============

From 1 to 100 units of one hidden layer.
"""

from fastnn import experiments

result = experiments.hidden_units(seeds=2, epochs=1_200)
for sentence in result.findings:
    print("-", sentence)

# %%
# ``figures`` is a dict of Matplotlib figures by name.

figures = result.figures
