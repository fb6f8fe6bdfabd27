"""SVRPG with tracking in NumPy: gradients step by step, the ring's weights, and the whole algorithm."""

import numpy as np


def softmax(theta):
    odds = np.exp(theta - theta.max(-1, keepdims=True))
    return odds / odds.sum(-1, keepdims=True)


def episode_gradient(theta, states, actions, rewards, gamma, behaviour=None, whole=False):
    """Eq. (3) at theta of one episode, which `behaviour` played, step by step, and the largest weight."""
    policy, gradient, largest = softmax(theta), np.zeros_like(theta), 0.0
    ratios = np.ones(len(states))
    if behaviour is not None:
        ratios = np.array([policy[s, a] / softmax(behaviour)[s, a] for s, a in zip(states, actions, strict=True)])
    for t, (s, a) in enumerate(zip(states, actions, strict=True)):
        follows = 0.0
        for h in range(t, len(states)):
            weight = np.prod(ratios) if whole else np.prod(ratios[: h + 1])
            follows += gamma**h * rewards[h] * weight
        score = -policy[s]
        score[a] += 1
        gradient[s] += follows * score
    for h in range(len(states)):
        largest = max(largest, np.prod(ratios) if whole else np.prod(ratios[: h + 1]))
    return gradient, largest


def ring_in_numpy(count):
    """A third each; fewer where there are fewer than three."""
    weights = np.zeros((count, count))
    for i in range(count):
        heard = {(i - 1) % count, (i + 1) % count} - {i}
        for j in heard:
            weights[i, j] = 1 / (1 + len(heard))
        weights[i, i] = 1 - weights[i].sum()
    return weights


def in_numpy(config, episodes_of_round, theta, rounds):
    """The whole algorithm, agent by agent and episode by episode; the episodes are those that were played."""
    own, net, gamma = config.estimator, config.network, config.task.discount
    count = config.workers.count
    mixing, kept = ring_in_numpy(count), None
    y, v = np.zeros_like(theta), np.zeros_like(theta)
    for k in range(rounds):
        fresh = own.reduction == "svrpg" and k % own.period == 0
        fresh = fresh or (own.reduction == "mdpgt" and k == 0)
        number = own.snapshot_batch if fresh else own.batch
        states, actions, rewards = episodes_of_round[k]
        random, most = np.zeros_like(theta), 1.0
        for i in range(count):
            for e in range(number):
                of = (states[:, i, e], actions[:, i, e], rewards[:, i, e])
                random[i] += episode_gradient(theta[i], *of, gamma)[0] / number
                if own.reduction != "none" and not fresh:
                    there, largest = episode_gradient(
                        kept[0][i], *of, gamma, behaviour=theta[i], whole=own.weights == "per_episode"
                    )
                    share = 1.0 if own.reduction == "svrpg" else 1 - own.newest_weight
                    random[i] -= share * there / number
                    most = max(most, largest)
            if own.reduction != "none" and not fresh:
                random[i] += (1.0 if own.reduction == "svrpg" else 1 - own.newest_weight) * kept[1][i]
        if fresh or own.reduction == "mdpgt":
            kept = theta.copy(), random.copy()
        new = random - config.task.penalty * theta
        y = np.einsum("ij,jsa->isa", mixing, y) + new - v if net.tracking else new
        v = new
        theta = np.einsum("ij,jsa->isa", mixing, theta) + net.learning_rate * y
        yield theta, y, v, most
