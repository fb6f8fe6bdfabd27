"""The command as a user types it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from nigt_jax.cli import main

ROOT = Path(__file__).parents[2]
DEFAULT = str(ROOT / "configs" / "default.yaml")
QUICK = str(ROOT / "configs" / "quick.yaml")
EXPONENT = ("--workers.communication_time.parameter_exponent", "0.5")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "CONFIG"),
        (("none.yaml",), "none.yaml: cannot be read"),
        ((QUICK, "--rounds", "0"), "--rounds: got 0, allowed: 1 to"),
        ((QUICK, "--rounds", "many"), "invalid int value: 'many'"),
        ((QUICK, "--target-noise", "0"), "--target-noise: got 0"),
        ((QUICK, "--target-noise", "nan"), "--target-noise: got nan"),
        ((QUICK, "--target-noise", "1e-5"), "takes rounds of 1,111,111,"),
        ((QUICK, "--parameters", "0"), "--parameters: got 0"),
        ((QUICK, *EXPONENT), "workers.communication_time.parameter_exponent is 0.5: give the number"),
        ((QUICK, "--workers.cuont", "3"), "did you mean --workers.count?"),
        ((QUICK, "--xyzzy", "3"), "see nigt simulate --help"),
        ((QUICK, "--workers.count", "0"), "workers.count: got 0"),
        ((QUICK, "--output", str(ROOT), "--name", "tests"), "exists already"),
    ],
)
def test_mistakes(arguments, says, capsys):
    assert main(["simulate", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert says in err
    assert err.count("\n") == 1


def test_a_whole_simulation(tmp_path, capsys):
    command = ["simulate", DEFAULT, "--output", str(tmp_path), "--rounds", "7"]
    assert main(command) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "\x1b" not in out
    folder = tmp_path / "simulate-default-001"
    assert str(folder) in out
    assert "fastest    worker 1: 1.00 time units a gradient = 1.00 gradients a time unit" in out
    assert "slowest    worker 10: 3.16 time units a gradient = 0.316 gradients a time unit" in out
    assert "take       --method.name rennala_nigt --method.batch_size 50" in out
    assert {path.name for path in folder.iterdir()} == {"config.yaml", "simulation.json", "timeline.png"}
    found = json.loads((folder / "simulation.json").read_text())
    assert found["gradient_times"] == pytest.approx([i**0.5 for i in range(1, 11)])
    assert found["clocks"]["rennala"]["rounds"] == 7
    assert found["clocks"]["rennala"]["collecting"] == pytest.approx(11)
    assert sum(found["clocks"]["rennala"]["shares"]) == pytest.approx(1)
    assert found["answer"]["best"] == "rennala_nigt"
    assert main([*command, "--name", "simulate-default-001"]) == 2
    again = ["simulate", str(folder / "config.yaml"), *command[2:], "--name", "again"]
    assert main(again) == 0  # its own configuration gives the same figures
    assert json.loads((tmp_path / "again" / "simulation.json").read_text()) == found


def test_times_that_depend_on_the_policy(tmp_path, capsys):
    command = ["simulate", DEFAULT, "--output", str(tmp_path), "--rounds", "2", *EXPONENT, "--parameters", "10000"]
    assert main([*command, "--name", "x"]) == 0
    found = json.loads((tmp_path / "x" / "simulation.json").read_text())
    assert found["parameters"] == 10000
    assert found["clocks"]["rennala"]["communicating"] == pytest.approx(100 * 10**0.5)
    capsys.readouterr()
    assert main([*command, "--name", "y", "--workers.compute_time.scale", "1e37"]) == 2
    assert "allowed: 1e-30 to 1e+30" in capsys.readouterr().err
    assert not (tmp_path / "y").exists()


def test_what_is_not_loaded():
    """A mistake is answered without JAX, and clocks need no physics."""
    program = """
import sys
from nigt_jax.cli import main
config = sys.argv[1]
assert main(["simulate", config, "--rounds", "0"]) == 2
assert not {"jax", "matplotlib"} & set(sys.modules)
from nigt_jax.simulation import answer, make_timeline, to_json
from nigt_jax.report import draw_timeline, show_comparison
from nigt_jax.cli._process import use_cpu
assert not {"brax", "flax", "mujoco", "orbax"} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program, QUICK], capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (0, 1), done.stderr


ELSEWHERE = {"brax", "mujoco", "flax", "orbax", "gymnax", "pandas", "pyarrow", "ray", "torch", "onnx", "imageio"}


@pytest.mark.parametrize(
    ("settings", "draws"),
    [("", True), ("{method: {name: afedpg}, estimator: {name: return_to_go}, workers: {count: 1001}}", False)],
)
def test_a_whole_process_loads_what_it_uses(settings, draws, tmp_path):
    """Neither physics nor what writes other files; Matplotlib only where there is a picture."""
    (tmp_path / "own.yaml").write_text(settings)
    arguments = ["simulate", str(tmp_path / "own.yaml"), "--rounds", "1", "--output", str(tmp_path)]
    program = f"""
import sys
from nigt_jax.cli import main
status = main({arguments!r})
print(status, *sorted({ELSEWHERE | {"matplotlib"}!r} & {{name.split(".")[0] for name in sys.modules}}))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1].split() == (["0", "matplotlib"] if draws else ["0"])
