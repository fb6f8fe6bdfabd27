"""Rennala NIGT on one screen: of this package nothing but the transformation. A cart balances a pole.

Ten workers take sqrt(i) seconds for an episode's gradient. A round counts the first 20 gradients from whoever is fast.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

import nigt_jax

TIMES, M, HORIZON = np.sqrt(np.arange(1, 11)), 20, 200


def physics(s, force):
    """A step of 20 ms of CartPole; s is place, speed, angle and its speed."""
    x, v, a, w = s
    push = (force + 0.05 * w**2 * jnp.sin(a)) / 1.1
    turn = (9.8 * jnp.sin(a) - jnp.cos(a) * push) / (0.5 * (4 / 3 - 0.1 * jnp.cos(a) ** 2 / 1.1))
    return jnp.stack([x + 0.02 * v, v + 0.02 * (push - 0.05 * turn * jnp.cos(a) / 1.1), a + 0.02 * w, w + 0.02 * turn])


def episode(w, key):
    """Scores of an episode, weighed by the time that was still to come, and its length."""

    def step(carry, key):
        s, up = carry
        right = jax.random.bernoulli(key, jax.nn.sigmoid(s @ w))
        score = jax.grad(lambda w: jax.nn.log_sigmoid(jnp.where(right, 1, -1) * (s @ w)))(w)
        s = physics(s, jnp.where(right, 10.0, -10.0))
        stays = up & (jnp.abs(s[0]) < 2.4) & (jnp.abs(s[2]) < 0.21)
        return (s, stays), (score * up, up)

    start, *keys = jax.random.split(key, HORIZON + 1)
    _, (scores, up) = jax.lax.scan(step, (0.05 * jax.random.normal(start, (4,)), True), jnp.stack(keys))
    to_go = jnp.flip(jnp.cumsum(jnp.flip(up.astype(jnp.float32))))
    return ((to_go - 20 * up)[:, None] * scores).sum(0), up.sum()


arrivals = np.sort(np.concatenate([t * np.arange(1, M + 1) for t in TIMES]))
round_time = arrivals[M - 1]  # the 20th gradient of all ends the round; the slowest worker is never waited for
tx = nigt_jax.nigt(learning_rate=0.3, momentum=0.8)


@jax.jit
def round_of(w, state, key):
    """One round: M gradients at the query point, and one step."""
    gradients, lengths = jax.vmap(episode, (None, 0))(w, jax.random.split(key, M))
    moves, state = tx.update(-gradients.mean(0), state, w)
    return optax.apply_updates(w, moves), state, lengths.mean()


if __name__ == "__main__":
    w = jnp.zeros(4)
    state = tx.init(w)
    for number, key in enumerate(jax.random.split(jax.random.key(0), 60)):
        w, state, length = round_of(w, state, key)
        if number % 20 == 0:
            print(f"after {number * round_time:.0f} s an episode lasts {length:.0f} steps")
    model = nigt_jax.nigt_eval_params(state, w)
    print(f"the iterate's last {jax.vmap(episode, (None, 0))(model, jax.random.split(key, 100))[1].mean():.0f} steps")
