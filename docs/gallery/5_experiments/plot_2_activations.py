"""
Three activations
=================

tanh, relu and sigmoid on the moons: boundaries, losses and the influence of the seed.
"""

from fastnn import experiments

result = experiments.activations(seeds=2, epochs=1_200)
for sentence in result.findings:
    print("-", sentence)

# %%
# ``figures`` is a dict of Matplotlib figures by name.

figures = result.figures
