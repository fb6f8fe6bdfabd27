"""Sweeps: many runs from one file, in as few programs as possible. Names are imported on first use."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
