"""Clocks only: what methods would cost on given workers, with no environment, no policy and no training.

Names are imported on first use: what checks a user's input needs no JAX, the rest does.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
