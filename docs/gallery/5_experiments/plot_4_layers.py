"""
Layers
======

From one to ten hidden layers, and vanishing gradients.
"""

from fastnn import experiments

result = experiments.layers(depths=(1, 2, 5, 10), budget=200, seeds=2, epochs=600)
for sentence in result.findings:
    print("-", sentence)

# %%
# ``figures`` is a dict of Matplotlib figures by name.

figures = result.figures
