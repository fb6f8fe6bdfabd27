"""Ringleader's two tables as the paper tells of them: lists that grow, and phases."""


class Leader:
    """The server's tables, with whatever is delivered in them.

    Attributes:
      current: of each worker what it has delivered for the updates to come.
      following: of each worker what it has delivered for the round after.
      updated: workers that have made their update; None while gradients are collected.
    """

    def __init__(self, workers):
        self.workers = workers
        self.current, self.following, self.updated = self._empty(), self._empty(), None

    def _empty(self):
        return [[] for _ in range(self.workers)]

    def arrive(self, worker, delivered):
        """Takes what a worker delivers. The table that the server updates with, or None where it does not."""
        if self.updated is None:
            self.current[worker].append(delivered)
            if not all(self.current):
                return None
            self.updated = {worker}
        elif worker in self.updated:
            self.following[worker].append(delivered)
            return None
        else:
            self.current[worker].append(delivered)
            self.updated.add(worker)
        table = [list(entry) for entry in self.current]
        if len(self.updated) == self.workers:
            self.current, self.following, self.updated = self.following, self._empty(), None
        return table
