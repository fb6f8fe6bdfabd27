"""What docs/transforms.md shows has been run: here, or, where it needs another package, as the file that it quotes."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp

DOCS = Path(__file__).parents[2] / "docs"
BLOCKS = re.findall(r"```python\n(.*?)```", (DOCS / "transforms.md").read_text(), flags=re.DOTALL)


def test_the_blocks_run_and_learn(capsys):
    names = {}
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):  # the user's settings, and Flax's
        for block in BLOCKS:
            if "rejax" not in block:
                exec(block, names)
        printed = capsys.readouterr().out
        assert printed.count("at the start") == 2
        assert float(names["loss"](names["model"], 0.0)) < 0.01
        assert float(names["error"](names["variables"])) < 0.05 < float(names["first"])
        assert not jnp.allclose(names["model"], names["params"])


def test_the_quoted_example_is_the_file():
    (quoted,) = [block for block in BLOCKS if "rejax" in block]
    assert quoted in (DOCS / "examples" / "rejax_ppo.py").read_text()
