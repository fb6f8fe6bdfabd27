"""``nigt``, and ``python -m nigt_jax``."""

import sys


def main() -> int:
    """Runs the command line; where it was not installed, says how it is."""
    try:
        from nigt_jax.cli import main as run
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("nigt_jax"):
            raise
        print(
            f"nigt: {error.name} is not installed: there are transforms and clocks here, and no training; allowed: "
            "pip install 'nigt_jax[train]'",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:  # while all this is imported, which takes a second
        return 130
    return run()


if __name__ == "__main__":
    sys.exit(main())
