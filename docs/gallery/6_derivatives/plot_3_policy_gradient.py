"""
A pole on a cart, by policy gradient
====================================

The network decides whether to push a cart to the left or to the right, so that the pole on it stays
upright; the reward is the time until it falls. The derivative of the loss with respect to the
logits, ``advantage * (p - onehot)``, is computed in NumPy; ``tape.backward`` and ``net.apply`` do
the step.
"""

import matplotlib.pyplot as plt
import numpy as np

import fastnn

CARTS, STEPS, UPDATES = 32, 200, 60


def move(state, push):
    """The cart after 20 ms; the equations of Barto, Sutton and Anderson (1983)."""
    _, v, angle, spin = state.T
    force, sin, cos = np.where(push == 1, 10.0, -10.0), np.sin(angle), np.cos(angle)
    pull = (force + 0.05 * spin**2 * sin) / 1.1
    turn = (9.8 * sin - cos * pull) / (0.5 * (4 / 3 - 0.1 * cos**2 / 1.1))
    speed_up = pull - 0.05 * turn * cos / 1.1
    change = np.stack([v, speed_up, spin, turn], axis=1)
    return state + np.float32(0.02) * change.astype(np.float32)


def is_up(state):
    return (np.abs(state[:, 0]) < 2.4) & (np.abs(state[:, 2]) < 0.21)


def probabilities(logits):
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


rng = np.random.default_rng(0)
policy = fastnn.Network([4, 32, 2], random_state=0)
rule = fastnn.Adam(0.01)
lengths = []
for _ in range(UPDATES):
    state = rng.uniform(-0.05, 0.05, (CARTS, 4)).astype(np.float32)
    up = np.ones(CARTS, bool)
    states, pushes, alive = [], [], []
    for _ in range(STEPS):
        p = probabilities(policy.forward(state).outputs)
        push = (rng.random(CARTS) < p[:, 1]).astype(int)
        states.append(state)
        pushes.append(push)
        alive.append(up)
        state = move(state, push)
        up = up & is_up(state)
    alive = np.array(alive)
    lengths.append(alive.sum(axis=0).mean())
    if lengths[-1] > 195:
        break
    # steps still to come, compared with the mean of the carts that are up at the same time
    to_come = np.cumsum(alive[::-1], axis=0)[::-1].astype(float)
    mean = (to_come * alive).sum(axis=1) / np.maximum(alive.sum(axis=1), 1)
    advantage = (to_come - mean[:, None]) * alive
    advantage /= advantage[alive].std() + 1e-9
    tape = policy.forward(np.concatenate(states))
    onehot = np.eye(2)[np.concatenate(pushes)]
    d_logits = advantage.reshape(-1, 1) * (probabilities(tape.outputs) - onehot)
    policy.apply(rule, tape.backward(d_logits / alive.sum()))

track = [np.array([[0, 0, 0.05, 0]], np.float32)]
for _ in range(STEPS):
    track.append(move(track[-1], policy.predict(track[-1])))
track = np.concatenate(track)

figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
axes[0].plot(lengths)
axes[0].set(xlabel="update", ylabel="steps until the pole falls", ylim=(0, STEPS + 10))
seconds = 0.02 * np.arange(len(track))
axes[1].plot(seconds, track[:, 0], label="cart, m")
axes[1].plot(seconds, np.degrees(track[:, 2]) / 10, label="pole, tens of degrees")
axes[1].set(xlabel="seconds", title="with the learned policy")
_ = axes[1].legend(frameon=False)
