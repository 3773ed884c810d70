"""The best that anyone can do on two noisy rings, and how near a network comes.

python examples/rings_and_their_ceiling.py [--quick]
"""

import sys

import fastnn
from fastnn.experiments.rings import best_accuracy, rings

quick = "--quick" in sys.argv
epochs = 200 if quick else 2_000

for factor, noise in ((0.5, 0.1), (0.8, 0.2)):
    best, radii = best_accuracy(factor, noise)
    print(f"factor {factor}, noise {noise}: best possible {best:.4f}, cut at radius {radii[0]:.4f}")
    X, y = rings(0, factor, noise)
    X_new, y_new = rings(1, factor, noise, samples=10_000)
    # The best rule itself, on fresh points: inside the radius it is the inner ring.
    rule = ((X_new**2).sum(axis=1) < radii[0] ** 2).astype(int)
    print(f"  the rule itself: held out {(rule == y_new).mean():.4f}")
    for activation in ("tanh", "relu"):
        net = fastnn.Network(
            [2, 8, 8, 8, 2], activation=activation, l2=5e-5, dtype="float64", random_state=0
        )
        net.fit(X, y, optimizer=fastnn.Adam(learning_rate=0.01), epochs=epochs)
        held_out = net.score(X_new, y_new)
        print(f"  {activation}: training {net.score(X, y):.4f}, held out {held_out:.4f}")
