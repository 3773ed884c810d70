"""Update rules with TensorFlow's fused kernels.

Keras applies an update as a sequence of elementwise kernels, each of which passes over all three
million parameters; a fused kernel passes over them once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fastnn.cnn.runtime import tf

# As in Keras.
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-7
MOMENTUM = 0.9
RHO = 0.9  # rmsprop
ACCUMULATOR = 0.1  # initial accumulator of adagrad
WEIGHT_DECAY = 0.004  # adamw

# Names of the state arrays that a rule has for each parameter.
SLOTS = {
    "sgd": (),
    "momentum": ("momentum",),
    "adagrad": ("accumulator",),
    "rmsprop": ("mean_square", "momentum"),
    "adam": ("m", "v"),
    "adamw": ("m", "v"),
}


@dataclass
class Optimizer:
    """An update rule and its state.

    Parameters
    ----------
    name : str
        One of ``SLOTS``.
    params : dict of str to tf.Variable

    Attributes
    ----------
    slots : dict of str to tf.Variable
        State arrays, named ``m/conv1/weights`` and so on.
    """

    name: str
    params: dict[str, tf.Variable]

    def __post_init__(self) -> None:
        start = ACCUMULATOR if self.name == "adagrad" else 0.0
        self.slots = {
            f"{slot}/{name}": tf.Variable(tf.fill(variable.shape, np.float32(start)))
            for slot in SLOTS[self.name]
            for name, variable in self.params.items()
        }

    def apply(self, gradients: dict[str, tf.Tensor], rate: tf.Tensor, step: tf.Tensor) -> None:
        """Update the parameters; called inside a ``tf.function``.

        Parameters
        ----------
        gradients : dict of str to tf.Tensor
        rate : tf.Tensor of float32
            Learning rate.
        step : tf.Tensor of int32
            Number of this update, starting at 1.
        """
        for name, variable in self.params.items():
            slots = [self.slots[f"{slot}/{name}"].handle for slot in SLOTS[self.name]]
            self._apply(variable, slots, gradients[name], rate, step)

    def _apply(
        self,
        variable: tf.Variable,
        slots: list[tf.Tensor],
        gradient: tf.Tensor,
        rate: tf.Tensor,
        step: tf.Tensor,
    ) -> None:
        """Update one parameter."""
        var = variable.handle
        if self.name == "sgd":
            tf.raw_ops.ResourceApplyGradientDescent(var=var, alpha=rate, delta=gradient)
        elif self.name == "momentum":
            tf.raw_ops.ResourceApplyKerasMomentum(
                var=var, accum=slots[0], lr=rate, grad=gradient, momentum=MOMENTUM
            )
        elif self.name == "adagrad":
            tf.raw_ops.ResourceApplyAdagradV2(
                var=var, accum=slots[0], lr=rate, epsilon=EPSILON, grad=gradient
            )
        elif self.name == "rmsprop":
            tf.raw_ops.ResourceApplyRMSProp(
                var=var,
                ms=slots[0],
                mom=slots[1],
                lr=rate,
                rho=RHO,
                momentum=0.0,
                epsilon=EPSILON,
                grad=gradient,
            )
        else:
            if self.name == "adamw":
                variable.assign_sub(variable * (rate * WEIGHT_DECAY))
            power = tf.cast(step, tf.float32)
            tf.raw_ops.ResourceApplyAdam(
                var=var,
                m=slots[0],
                v=slots[1],
                beta1_power=BETA1**power,
                beta2_power=BETA2**power,
                lr=rate,
                beta1=BETA1,
                beta2=BETA2,
                epsilon=EPSILON,
                grad=gradient,
            )
