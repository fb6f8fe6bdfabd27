"""Speeds that change, in exact rationals: the integral of a worker's speed, walked from one change to the next."""

import math

from exact_rounds import NEVER, exact


class Speed:
    """The speed of one worker over time.

    Args:
      changes: (start, end or None, factor), as a configuration has them; factors multiply where changes overlap.
      period: after which all repeats, or None.
    """

    def __init__(self, changes, period=None):
        changes = [
            (exact(start), NEVER if end is None else exact(end), exact(factor)) for start, end, factor in changes
        ]
        self.period = NEVER if period is None else exact(period)
        cuts = sorted({0, *(t for start, end, _ in changes for t in (start, end) if t < self.period)})
        ends = [*cuts[1:], self.period]
        inside = lambda t: [factor for start, end, factor in changes if start <= t < end]
        self.pieces = [(begin, end, math.prod(inside(begin))) for begin, end in zip(cuts, ends, strict=True)]
        self.of_period = 0 if period is None else sum(value * (end - begin) for begin, end, value in self.pieces)

    def finish(self, begin, work):
        """The first time at which so much work is done that was begun at `begin`."""
        if begin == NEVER or (self.period != NEVER and self.of_period == 0):
            return NEVER
        whole, time = divmod(begin, self.period) if self.period != NEVER else (0, begin)
        while True:
            for start, end, value in self.pieces:
                if end <= time:
                    continue
                at = max(start, time)
                if value > 0 and value * (end - at) >= work:
                    return at + work / value + (whole * self.period if whole else 0)
                if end == NEVER:
                    return NEVER
                work -= value * (end - at)
            skip = math.ceil(work / self.of_period) - 1  # whole periods that are not enough
            work, whole, time = work - skip * self.of_period, whole + 1 + skip, 0
