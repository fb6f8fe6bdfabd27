"""A sweep's folder: what is to be run, what is done, and the table of results."""

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from nigt_jax.errors import UserError
from nigt_jax.files import read_json
from nigt_jax.records import RunFolder, check_output, make_whole, mark_code, read_metrics, write_whole
from nigt_jax.sweeps._plan import Plan
from nigt_jax.sweeps._sweep import Run, Sweep, load_sweep, reported_runs
from nigt_jax.sweeps._table import write_table
from nigt_jax.sweeps._tuning import Choice

PLAN = "programs.json"
CHOSEN = "chosen.json"
RESULTS = "results.parquet"


class SweepFolder:
    """``sweep.yaml``, ``programs.json``, ``runs/``, ``programs/`` and ``results.parquet`` of one sweep.

    A sweep in which something is tuned has ``chosen.json``, too, once that is done.

    Attributes:
      path: the folder.
      sweep: what is to be run.
      runs: all of its runs that are known by now.
      programs: the names of the runs that share each program.
      rooms: number of runs that each of them is made for.
      twins: runs that are not computed, and whose numbers they have but for times.
      tuned: whether what is tuned has been chosen, or nothing is.
    """

    def __init__(self, path: Path, sweep: Sweep, plan: Plan):
        self.path, self.sweep = path, sweep
        self.runs, self.programs, self.twins = sweep.runs, list(plan.programs), dict(plan.twins)
        self.rooms = list(plan.rooms)
        self.tuned = not sweep.tuned
        self._runs = {run.name: run for run in sweep.runs}

    def add(self, runs: tuple[Run, ...], plan: Plan) -> None:
        """Adds the runs that come after tuning."""
        self.runs, self.tuned = self.runs + runs, True
        self.programs, self.twins = self.programs + plan.programs, self.twins | plan.twins
        self.rooms += plan.rooms
        self._runs |= {run.name: run for run in runs}

    def write_chosen(self, choices: Mapping[str, Choice], plan: Plan) -> None:
        """Writes down what was chosen for each case, and how the runs are computed that come after it."""
        content = {"chosen": {case: choice._asdict() for case, choice in choices.items()}, **plan._asdict()}
        write_whole(self.path / CHOSEN, json.dumps(content, indent=1) + "\n")

    def read_chosen(self) -> None:
        """Adds the runs that come after tuning, where they are written down and not known yet.

        Raises:
          UserError: what is written is damaged.
        """
        path = self.path / CHOSEN
        if self.tuned or not path.is_file():
            return
        try:
            runs = reported_runs(self.sweep, {case: choice.values for case, choice in self.choices().items()})
        except (KeyError, TypeError, AttributeError):
            raise _damaged(path) from None
        self.add(runs, _read_plan(path))
        _check_plan(self, path)

    def choices(self) -> dict[str, Choice]:
        """What was chosen for each case."""
        try:
            chosen = {case: Choice(**choice) for case, choice in _read(self.path / CHOSEN)["chosen"].items()}
            if not all(isinstance(choice.values, dict) for choice in chosen.values()):
                raise TypeError
        except (KeyError, TypeError, AttributeError):
            raise _damaged(self.path / CHOSEN) from None
        return chosen

    def twins_of(self, number: int) -> list[tuple[Run, Run]]:
        """The runs that have the numbers of some run of a program, each with that run."""
        mine = set(self.programs[number])
        return [(self._runs[name], self._runs[other]) for name, other in self.twins.items() if other in mine]

    def runs_of(self, number: int) -> list[Run]:
        """The runs of a program."""
        return [self._runs[name] for name in self.programs[number]]

    def run_folder(self, run: Run) -> RunFolder:
        """The folder of a run."""
        return RunFolder(self.path / "runs" / run.name)

    def program_folder(self, number: int) -> Path:
        """What the runs of a program have in common."""
        return self.path / "programs" / f"{number + 1:03d}"

    def outcome(self, number: int) -> dict[str, str | None] | None:
        """Of the runs of a program that is done, why each failed, or None; None of a program that is not."""
        try:
            found = read_json(self.program_folder(number) / "done.json")
            if not isinstance(found, dict) or not all(isinstance(why, str | None) for why in found.values()):
                raise ValueError
        except FileNotFoundError:
            return None
        except (OSError, ValueError):
            raise _damaged(self.program_folder(number) / "done.json") from None
        return found

    def write_outcome(self, number: int, failed: dict[str, str | None]) -> None:
        """Marks a program as done."""
        write_whole(self.program_folder(number) / "done.json", json.dumps(failed, indent=1) + "\n")

    def done(self) -> list[int]:
        """Numbers of the programs that are done."""
        return [number for number in range(len(self.programs)) if self.outcome(number) is not None]

    def write_results(self) -> None:
        """Writes ``results.parquet`` of all runs that are done.

        Others may do the same on other machines at the same time: whoever is last has all of them.
        """
        done = None
        while done != self.done():
            done = self.done()
            self._write_results(done)

    def _write_results(self, done: list[int]) -> None:
        rows: list[dict[str, Any]] = []
        for number in done:
            failed = self.outcome(number) or {}
            for run in (*self.runs_of(number), *(twin for twin, _ in self.twins_of(number))):
                rows.extend(self._rows(run, failed.get(run.name)))
        write_table(self.path / RESULTS, ["variant", "run", *self.sweep.keys], rows)

    def _rows(self, run: Run, failed: str | None) -> list[dict[str, Any]]:
        """A row an evaluation."""
        of_run: dict[str, Any] = {"variant": run.variant, "run": run.name, **run.point}
        of_run |= {} if run.scenario is None else {"scenario": run.scenario}
        of_run |= {"tuning": run.tuning, "computed_as": self.twins.get(run.name)}
        records = read_metrics(self.run_folder(run).metrics)
        return [of_run | record | {"failed": failed} for record in records if "return_mean" in record]


def create_sweep(output: Path, name: str | None, stem: str, sweep: Sweep, plan: Plan, *, join: bool) -> SweepFolder:
    """Makes the folder of a new sweep, whole or not at all.

    Args:
      output: folder of sweeps.
      name: the sweep's name; None for `stem` with the first free number.
      stem: what to name it after.
      sweep: the sweep.
      plan: how its runs are computed.
      join: whether a folder of the same sweep that is there already is taken as it is; then `name` is given.

    Raises:
      UserError: it exists, or cannot be written; or another sweep is to be joined.
    """
    if join and name is not None and (output / name).is_dir():
        return _joined(output / name, sweep)
    check_output(output, name)
    try:
        return open_sweep(make_whole(output, name, stem, lambda path: _write_plan(path, sweep, plan)))
    except FileExistsError as error:
        if join and name is not None:
            return _joined(output / name, sweep)
        raise UserError(f"{error.filename}: exists already; choose another --name") from None
    except OSError as error:
        raise UserError(f"{output}: cannot be written: {error.strerror}") from None


def open_sweep(path: Path) -> SweepFolder:
    """The folder of an earlier sweep.

    Raises:
      UserError: it is none, or damaged.
    """
    if not (path / PLAN).is_file():
        raise UserError(f"{path}: is no folder of a sweep (no {PLAN} in it), such as nigt sweep makes")
    folder = SweepFolder(path, load_sweep(path / "sweep.yaml"), _read_plan(path / PLAN))
    _check_plan(folder, path / PLAN)
    folder.read_chosen()
    return folder


def _check_plan(folder: SweepFolder, path: Path) -> None:
    planned = [name for program in folder.programs for name in program]
    if sorted([*planned, *folder.twins]) != sorted(run.name for run in folder.runs):
        raise UserError(f"{path}: does not name the runs of sweep.yaml, which has to be as it was written")


def _read_plan(path: Path) -> Plan:
    content = _read(path)
    try:
        if isinstance(content, list):  # as the first version wrote it
            content = {"programs": content, "rooms": [len(names) for names in content], "twins": {}}
        programs, rooms = [list(map(str, names)) for names in content["programs"]], list(map(int, content["rooms"]))
        if len(rooms) != len(programs):
            raise ValueError
        twins = {str(name): str(other) for name, other in content["twins"].items()}
        if not set(twins.values()) <= {name for names in programs for name in names}:
            raise ValueError
        return Plan(programs, rooms, twins)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise _damaged(path) from None


def _read(path: Path) -> Any:
    try:
        return read_json(path)
    except (OSError, ValueError):
        raise _damaged(path) from None


def _damaged(path: Path) -> UserError:
    return UserError(f"{path}: is damaged; it has to be as this package wrote it")


def _joined(path: Path, sweep: Sweep) -> SweepFolder:
    folder = open_sweep(path)
    if folder.sweep.settings != sweep.settings:
        raise UserError(f"{path}: is the folder of another sweep; choose another --name")
    return folder


def _write_plan(path: Path, sweep: Sweep, plan: Plan) -> None:
    stream = io.StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.dump(sweep.settings, stream)
    mark_code(path, sweep.code)
    write_whole(path / "sweep.yaml", stream.getvalue())
    write_whole(path / PLAN, json.dumps(plan._asdict(), indent=1) + "\n")
    (path / "runs").mkdir()
    (path / "programs").mkdir()
