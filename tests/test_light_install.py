"""The transforms and the clocks need next to nothing, and the command line says what it needs."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
MODULES = {"orbax-checkpoint": "orbax", "ruamel.yaml": "ruamel", "lazy-loader": "lazy_loader"}

# Packages of the extra cannot be imported, as if they were not there.
WITHOUT = """
import importlib.abc, sys

class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {absent!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
"""


def without_the_extra(code):
    names = [re.split(r"[><\[]", need)[0] for need in PROJECT["optional-dependencies"]["train"]]
    absent = {MODULES.get(name, name) for name in names} - {"scipy"}  # JAX itself needs it
    program = WITHOUT.format(absent=absent) + code
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)


def test_transforms_and_clocks():
    done = without_the_extra(
        """
import jax, jax.numpy as jnp, nigt_jax, optax
tx = optax.chain(nigt_jax.rennala_mean(None), nigt_jax.nigt(0.1))
state = tx.init(jnp.ones(2))
updates, state = tx.update(jnp.ones(2), state, jnp.ones(2), count=1)
print(nigt_jax.nigt_eval_params(state, jnp.ones(2) + updates).round(3))
print(jax.jit(nigt_jax.rennala_round, static_argnums=1)(jnp.array([[1.0, 1.0], [3.0, 3.0]]), 2).counts)
assert "jax" in sys.modules and not {"brax", "mujoco", "flax", "pyarrow"} & set(sys.modules)
"""
    )
    assert (done.stdout, done.stderr) == ("[0.929 0.929]\n[2 0]\n", "")


def test_the_command_line_says_what_it_needs():
    done = without_the_extra("from nigt_jax.__main__ import main; sys.exit(main())")
    assert (done.returncode, done.stdout) == (2, "")
    assert "is not installed" in done.stderr
    assert done.stderr.endswith("pip install 'nigt_jax[train]'\n")
    assert done.stderr.count("\n") == 1
