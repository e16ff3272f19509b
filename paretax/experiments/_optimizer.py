"""The optimizers of all runs, by name."""

import jax
import optax

__all__ = ["decayed"]


def decayed(
    name: str,
    learning_rate: float | jax.Array,
    num_steps: int,
    *,
    after: int | jax.Array = 0,
) -> optax.GradientTransformation:
    """SGD with momentum 0.9 ("sgd") or Adam ("adam"), with cosine decay to 0.

    The learning rate is the first one, and may be traced; it starts where so many
    steps of the decay are `after` it.
    """
    decay = optax.cosine_decay_schedule(learning_rate, num_steps)
    rate = lambda step: decay(step + after)
    return optax.sgd(rate, momentum=0.9) if name == "sgd" else optax.adam(rate)
