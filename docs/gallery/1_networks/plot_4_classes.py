"""
Several classes
===============

Softmax with one output per class. The colours are stronger where the network is more certain.
"""

from sklearn.datasets import make_blobs

import fastnn

X, y = make_blobs(300, centers=4, cluster_std=1.4, random_state=3)
net = fastnn.Network([2, 16, 4], standardize=True, l2=1e-3, random_state=0)
net.fit(X, y, optimizer=fastnn.Adam(0.02), epochs=500)
_ = fastnn.plots.decision_boundary(net, X, y, title=f"accuracy {net.score(X, y):.3f}")
