"""
Where naive formulas fail
=========================

tanh, sigmoid, softmax and the loss as a textbook writes them, against the kernels.
"""

from fastnn import experiments

result = experiments.numerics()
for sentence in result.findings:
    print("-", sentence)

# %%
# ``figures`` is a dict of Matplotlib figures by name.

figures = result.figures
