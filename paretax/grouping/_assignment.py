"""The relaxed assignment of tasks to groups, and how undecided it is."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from paretax._checks import check_key, check_positive

__all__ = ["assignment", "check_logits", "entropy", "groups"]


def assignment(
    logits: Float[Array, "n k"],
    key: Array | None,
    temperature: float | Array,
    *,
    hard: bool = False,
) -> Float[Array, "n k"]:
    """A differentiable draw of one group a task: the Gumbel-softmax.

    z_ik = exp((s_ik + g_ik)/τ) / Σ_j exp((s_ij + g_ij)/τ), with g standard Gumbel.
    With L_ik the loss of task i in group k, the logits of Σ z_ik L_ik have the gradient
    z_ik (L_ik − Σ_j z_ij L_ij)/τ: groups of lower loss win.

    Args:
      logits: s, shape [N, K]: N tasks, K groups, which may be more than the tasks. A
        group with logit −∞ is never drawn.
      key: a typed key; None for no noise, g = 0.
      temperature: τ > 0. Schedules are optax's: `optax.exponential_decay(5.0, 1000,
        0.5)(step)`, `optax.cosine_decay_schedule(5.0, 1000, 0.1)(step)`.
      hard: the one-hot vector of the largest entry, with the gradient of the soft one
        ("straight-through").

    Returns:
      z, shape [N, K]: rows non-negative that sum to 1. The largest entry is in group k
      with probability softmax(s_i)_k, whatever τ. One group is certain, z = 1, and has
      no gradient. One draw for a whole batch; for one an example, [B, N, K], it is
      `jax.vmap(assignment, (None, 0, None))(logits, jax.random.split(key, B), τ)`.

    Raises:
      ValueError: logits that are not [N, K], no key, τ ≤ 0.

    Example:
      >>> import jax.numpy as jnp
      >>> from paretax import grouping
      >>> logits = jnp.log(jnp.array([[1.0, 3.0], [1.0, 1.0]]))
      >>> [[round(z, 3) for z in row] for row in
      ...  grouping.assignment(logits, None, 1.0).tolist()]
      [[0.25, 0.75], [0.5, 0.5]]
      >>> grouping.assignment(logits, None, 1.0, hard=True).tolist()
      [[0.0, 1.0], [1.0, 0.0]]

    Cost: N·K Gumbel variates and exponentials.

    Reference: Jang, Gu & Poole, "Categorical Reparameterization with Gumbel-Softmax",
    ICLR 2017, arXiv:1611.01144; for groups, Gao et al., "DMTG: One-Shot Differentiable
    Multi-Task Grouping", ICML 2024, arXiv:2407.05082.
    """
    logits = check_logits(logits)
    check_positive("temperature", temperature)
    if key is not None:
        noise = jax.random.gumbel(check_key(key), logits.shape, logits.dtype)
        logits = logits + noise
    tau = jnp.asarray(temperature, logits.dtype)
    soft = jax.nn.softmax(logits / tau, axis=-1)
    if not hard:
        return soft
    one_hot = jax.nn.one_hot(jnp.argmax(soft, axis=-1), soft.shape[1], dtype=soft.dtype)
    return one_hot + (soft - jax.lax.stop_gradient(soft))


def entropy(logits: Float[Array, "n k"]) -> Float[Array, " n"]:
    """How undecided each task is: Hᵢ = −Σ_k p_ik log p_ik with p = softmax(s).

    Args:
      logits: s, shape [N, K].

    Returns:
      Shape [N], in nats, from 0 (decided) to log K (all groups alike). Differentiable:
      `w * entropy(logits).mean()` added to the loss is a regularizer.

    Raises:
      ValueError: logits that are not [N, K].

    Example:
      >>> import jax.numpy as jnp
      >>> from paretax import grouping
      >>> values = grouping.entropy(jnp.array([[0.0, 0.0], [0.0, 50.0]]))
      >>> [round(h, 4) for h in values.tolist()]
      [0.6931, 0.0]

    Cost: N·K exponentials.

    Reference: this is the entropy of the categorical. Departure: the regularizer in
    DMTG's code, which its configurations do not use, adds that of 1 − p.
    """
    log_p = jax.nn.log_softmax(check_logits(logits), axis=-1)
    possible = jnp.isfinite(log_p) | jnp.isnan(log_p)
    log_p = jnp.where(possible, log_p, 0.0)
    p = jnp.where(possible, jnp.exp(log_p), 0.0)
    return -jnp.sum(p * log_p, axis=-1)


def groups(logits: Float[Array, "n k"]) -> Int[Array, " n"]:
    """The group of each task: the largest logit of its row, the first of equal ones.

    Args:
      logits: s, shape [N, K].

    Returns:
      Integers from 0 to K − 1, shape [N]; some groups may be empty.

    Raises:
      ValueError: logits that are not [N, K].

    Example:
      >>> import jax.numpy as jnp
      >>> from paretax import grouping
      >>> grouping.groups(jnp.array([[0.0, 1.0], [2.0, 1.0], [0.0, 0.0]])).tolist()
      [1, 0, 0]

    Cost: N·K comparisons.
    """
    return jnp.argmax(check_logits(logits), axis=-1).astype(jnp.int32)


def check_logits(logits) -> Float[Array, "n k"]:
    """Logits are one array [N, K] with at least one task and one group."""
    values = jnp.asarray(logits, jnp.result_type(logits, jnp.float32))
    if values.ndim != 2 or 0 in values.shape:
        raise ValueError(
            "logits: expected shape [N, K], one row a task and one column a group, got "
            f"{values.shape}."
        )
    return values
