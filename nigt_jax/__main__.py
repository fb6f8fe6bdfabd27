"""``nigt``, and ``python -m nigt_jax``."""

import os
import sys


def main() -> int:
    """Runs the command line; where it was not installed, says how it is."""
    _in_utf8()
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


def _in_utf8() -> None:
    """Begins the process again in Python's UTF-8 mode, where its locale has another encoding.

    Names of files are UTF-8 to what writes checkpoints, and what is shown has more letters than ASCII.
    """
    if sys.getfilesystemencoding() != "utf-8" and not sys.flags.ignore_environment:
        os.environ["PYTHONUTF8"] = "1"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
