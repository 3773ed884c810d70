"""
Where naive formulas fail
=========================

The textbook formulas of tanh, sigmoid, softmax and the loss, compared with the kernels.
"""

from fastnn import experiments

result = experiments.numerics()
for sentence in result.findings:
    print("-", sentence)

# %%
# ``figures`` is a dict of Matplotlib figures by name.

figures = result.figures
