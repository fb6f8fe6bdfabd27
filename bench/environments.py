"""Which environments run on which physics, and how many steps a second: a table of all that `nigt list` has.

Run `python bench/environments.py --help`. What the figures mean, and those of one machine, are in docs/environments.md.
"""

import argparse
import functools
import json
import statistics
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from nigt_jax.benchmark import in_words, machine
from nigt_jax.compilation import compile_options
from nigt_jax.config import BACKENDS, BRAX, DM_CONTROL, GYMNAX, check_config
from nigt_jax.environments import action_space, make_environment, observed
from nigt_jax.errors import UserError
from nigt_jax.imports import said
from nigt_jax.rollout import side_by_side

CASES = [f"{name} {backend}" for name in BRAX for backend in BACKENDS] + [*GYMNAX, *DM_CONTROL]


def main() -> None:
    """Measures every case that the file does not have yet, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", default=CASES, metavar="'NAME [BACKEND]'", help="by default all")
    parser.add_argument("--lanes", type=int, default=64, help="side by side, on one device")
    parser.add_argument("--steps", type=int, default=100, help="of all lanes, in a turn")
    parser.add_argument("--turns", type=int, default=5, help="after one that warms up; the median counts")
    parser.add_argument("--most", type=float, default=60, help="seconds of a case's turns, after which no more begins")
    parser.add_argument("--json", type=Path, help="keeps the figures; what it has already is not measured again")
    args = parser.parse_args()
    known = json.loads(args.json.read_text()) if args.json and args.json.exists() else {}
    for case in args.cases:
        if case not in known:
            found = measure(case, args.lanes, args.steps, args.turns, args.most)
            known[case] = found | {"machine": machine(jax.devices()[:1])}
            print(case, {key: value for key, value in known[case].items() if key != "machine"}, flush=True)
            if args.json:
                args.json.write_text(json.dumps(known, indent=1) + "\n")
    first = next(iter(known.values()))["machine"]
    print(f"\n{in_words(first)}; {args.lanes} lanes, of one device\n")
    print(table(known))


def measure(case: str, lanes: int, steps: int, turns: int, most: float) -> dict[str, Any]:
    """Steps a second, seconds of compiling, and the share of lanes that are finite; or why there are none."""
    name, *backend = case.split()
    try:
        config = check_config({"environment": {"name": name} | ({"backend": backend[0]} if backend else {})})
        environment = make_environment(config.environment)
        started = time.perf_counter()
        program = compiled(environment, lanes, steps)
    except UserError as error:
        return {"refused": str(error)}
    except Exception as error:  # whatever the environment's own code raises
        return {"broken": said(error)}
    compiling = time.perf_counter() - started
    keys = jax.random.split(jax.random.key(0), lanes)
    seconds: list[float] = []
    while len(seconds) <= turns and sum(seconds) < most:
        started = time.perf_counter()
        finite = float(program(keys))
        seconds.append(time.perf_counter() - started)
    speed = lanes * steps / statistics.median(seconds[1:] or seconds)  # warming up matters little in so slow a case
    return {"steps_per_second": speed, "compiling": compiling, "finite": finite}


def compiled(environment: Any, lanes: int, steps: int) -> Any:
    """Keys to the share of lanes that are finite after so many steps of random actions, none of which ends."""
    reset, step = side_by_side(environment, lanes_last=jax.default_backend() == "cpu")
    actions = action_space(environment).draw(jax.random.key(1), lanes).T
    advance = functools.partial(step, None)

    def run(keys: jax.Array) -> jax.Array:
        end, _ = jax.lax.scan(lambda state, _: (advance(state, actions), None), reset(None, keys), length=steps)
        finite = jnp.isfinite(observed(end)).all(axis=0) & jnp.isfinite(end.reward)
        return finite.astype(jnp.float32).mean()

    with jax.default_matmul_precision("highest"):
        lowered = jax.jit(run).lower(jax.random.split(jax.random.key(0), lanes))
        return lowered.compile(compiler_options=compile_options(jax.default_backend()))


def table(known: dict[str, Any]) -> str:
    """Steps a second in thousands, and seconds of compiling, in Markdown; and why what does not run does not."""
    notes: list[str] = []
    of_brax = dict.fromkeys(case.split()[0] for case in known if " " in case)
    rows = {name: [cell(known.get(f"{name} {backend}"), notes) for backend in BACKENDS] for name in of_brax}
    lines = [f"| environment | {' | '.join(BACKENDS)} |", f"|---|{'---|' * len(BACKENDS)}"]
    lines += [f"| {name} | {' | '.join(cells)} |" for name, cells in rows.items()]
    rest = [name for name in known if " " not in name]
    if rest:
        lines += ["", "| environment | its own physics |", "|---|---|"]
        lines += [f"| {name} | {cell(known[name], notes)} |" for name in rest]
    return "\n".join([*lines, "", *(f"{number + 1}. {note}" for number, note in enumerate(notes))])


def cell(found: dict[str, Any] | None, notes: list[str]) -> str:
    """One entry of the table; what needs a reason adds it to the notes."""
    if found is None:
        return ""
    why = found.get("refused") or found.get("broken")
    if why is None and found["finite"] < 1:
        why = f"{1 - found['finite']:.0%} of the lanes are not finite after the last step"
    mark = ""
    if why is not None:
        if why not in notes:
            notes.append(why)
        mark = f" ({notes.index(why) + 1})"
    if "steps_per_second" not in found:
        return f"no{mark}"
    speed = found["steps_per_second"]
    return f"{f'{speed / 1000:,.1f}k' if speed >= 100 else f'{speed:.0f}'}, {found['compiling']:.0f} s{mark}"


if __name__ == "__main__":
    main()
