"""The Python environment of a rival that does not share ours: made once, in the user's cache folder.

`python bench/rivals/environment.py` makes it and prints its interpreter. PyTorch is used on the CPU only, but
its usual wheel for Linux needs gigabytes of CUDA libraries; pip takes one without them where it finds it
(PIP_FIND_LINKS).
"""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

REQUIREMENTS = Path(__file__).with_name("requirements.txt")


def interpreter() -> Path:
    """The interpreter of an environment with what requirements.txt names, and nothing else.

    It belongs to those requirements and this version of Python; others get another folder. An installation that was cut
    short is begun again.
    """
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    key = hashlib.sha256(REQUIREMENTS.read_bytes() + sys.version.encode()).hexdigest()[:12]
    folder = home / "nigt_jax" / "bench" / key
    python, ready = folder / "bin" / "python", folder / ".ready"
    if not ready.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "-r", REQUIREMENTS], check=True, stdout=sys.stderr)
        ready.touch()
    return python


if __name__ == "__main__":
    print(interpreter())
