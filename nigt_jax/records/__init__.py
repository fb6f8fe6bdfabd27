"""What a run leaves behind. Names are imported on first use: checkpoints need JAX, the rest does not."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
