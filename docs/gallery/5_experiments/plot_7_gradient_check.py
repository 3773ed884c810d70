"""
Checking the gradient
=====================

The gradient of the kernels compared with central differences and the complex step.
"""

from fastnn import experiments

result = experiments.gradient_check()
for sentence in result.findings:
    print("-", sentence)

# %%
# ``figures`` is a dict of Matplotlib figures by name.

figures = result.figures
