"""Arrivals one at a time in exact rationals: every worker has a link of its own, or all queue for the server's one."""


def play(arrivals, finish, exchange, topology="parallel-links"):
    """The first arrivals: (worker, time) each; fewer where nobody delivers any more.

    Args:
      arrivals: how many.
      finish: (worker, number of the gradient, time it is begun) to the time it is done.
      exchange: the time of each worker's exchange.
      topology: parallel-links: an exchange takes its time, whatever others do. shared-link: one after the other, in the
        order in which gradients are done.
    """
    shared, free = topology == "shared-link", 0
    number = [0] * len(exchange)
    done = [finish(i, 0, 0) for i in range(len(exchange))]
    for _ in range(arrivals):
        reaches = [t if shared else t + x for t, x in zip(done, exchange, strict=True)]
        first = min(reaches)
        if first == float("inf"):
            return
        worker = reaches.index(first)  # ties go to the lower worker
        time = max(first, free) + exchange[worker] if shared else first
        yield worker, time
        free = time
        number[worker] += 1
        done[worker] = finish(worker, number[worker], time)
