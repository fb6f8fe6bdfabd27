"""``python -m nigt_jax`` is ``nigt``."""

import sys

from nigt_jax.cli import main

if __name__ == "__main__":
    sys.exit(main())
