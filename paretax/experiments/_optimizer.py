"""The optimizers of all runs, by name."""

import jax
import optax

__all__ = ["decayed"]


def decayed(
    name: str, learning_rate: float | jax.Array, num_steps: int
) -> optax.GradientTransformation:
    """SGD with momentum 0.9 ("sgd") or Adam ("adam"), with cosine decay to 0.

    The learning rate is the first one, and may be traced.
    """
    rate = optax.cosine_decay_schedule(learning_rate, num_steps)
    return optax.sgd(rate, momentum=0.9) if name == "sgd" else optax.adam(rate)
