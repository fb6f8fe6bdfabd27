"""Asynchronous distributed policy gradient in JAX: Rennala NIGT and Malenia NIGT.

Names are imported on first use: the command line checks a user's input before JAX is loaded.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
