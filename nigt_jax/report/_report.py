"""``nigt report``: the page and the figures of runs or sweeps."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from nigt_jax.config import dotted, system_of, to_dict
from nigt_jax.errors import RunError, UserError
from nigt_jax.records import open_run, open_system_run, write_whole
from nigt_jax.report import _charts as charts
from nigt_jax.report._figures import write_figure
from nigt_jax.report._latex import latex
from nigt_jax.report._map import cells_of, dump_evidence, on_map
from nigt_jax.report._map_figure import write_map
from nigt_jax.report._markdown import markdown
from nigt_jax.report._names import Named, named
from nigt_jax.report._page import Page
from nigt_jax.report._run_page import load_run, run_charts, run_page
from nigt_jax.report._study import AXES, load_study
from nigt_jax.report._sweep_page import sweep_page, timelines
from nigt_jax.report._system_page import load_system_run, system_charts, system_page
from nigt_jax.sweeps import PLAN

_LONGEST_SETTING = 60  # letters of a value that a table shows; lists of workers' times are longer


def write_report(
    paths: Sequence[Path], output: Path, *, tex: bool = False, before_clocks: Callable[[], None] = lambda: None
) -> list[Path]:
    """Writes one HTML page on runs or sweeps, and beside it its figures as PNG and SVG.

    Args:
      paths: folders of sweeps, or of runs; not both. Those of one name are called by where they are, too.
      output: the page's file. Figures are in a folder of the same name without the suffix, with ``tables.md``, the
        page's texts and tables.
      tex: whether to write ``tables.tex`` there too: the page's tables, with settings and versions, as LaTeX.
      before_clocks: called once everything is read, before JAX is loaded to play workers' clocks.

    Returns:
      The files, the page first.

    Raises:
      UserError: a folder is neither, or nothing in it is done yet.
      RunError: the disk does not take them.
    """
    kinds = {path: _kind(path) for path in paths}
    if len(set(kinds.values())) > 1:
        (kind, one), (other_kind, other), *_ = sorted({kind: path for path, kind in kinds.items()}.items())
        raise UserError(f"{one}: is a {kind} and {other} a {other_kind}, allowed: all of one kind")
    folder = output.with_suffix("")
    if folder == output:
        raise UserError(f"--output: got {output}, allowed: a file that ends in .html")
    if folder.is_symlink():  # whoever made the folder that it is in may want something overwritten
        raise UserError(f"{folder}: is a symbolic link, allowed: a folder, or another --output")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        of = _PAGES.get(next(iter(kinds.values())), _of_systems)
        page, figures = of(named(paths), folder, before_clocks)
        write_whole(output, page.html())
        tables = folder / "tables.md"
        write_whole(tables, markdown(page, _shown(figures)))
        if tex:
            figures = [*figures, folder / "tables.tex"]
            write_whole(figures[-1], latex(page, *_computed_with(paths[0])))
    except OSError as error:
        raise RunError(f"{error.filename or output}: cannot be written: {error.strerror or error}") from None
    return [output, tables, *figures]


def _computed_with(path: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Settings and versions of a run, or of the first run of a sweep."""
    if _kind(path) == "sweep":
        path = sorted(path.glob("runs/*/config.yaml"))[0].parent
    system = system_of(path / "config.yaml")
    folder, config = open_run(path, check_files=False) if system is None else open_system_run(path)
    written = folder.written()
    versions = {} if written is None else dict(written.versions[-1].packages)
    shown = {key: json.dumps(value) if value is None else str(value) for key, value in dotted(to_dict(config)).items()}
    return {key: value for key, value in shown.items() if len(value) < _LONGEST_SETTING}, versions


def _shown(figures: Sequence[Path]) -> dict[str, str]:
    """The picture of each section of a page, by its anchor."""
    shown = {}
    for figure in figures:
        if figure.suffix == ".png":
            name = figure.stem
            for end, kind in (("-simulated-time", "sweep"), ("-cells", "map")):
                if name.endswith(end):
                    shown["training" if name == f"run{end}" else f"{kind}-{name.removesuffix(end)}"] = figure.name
    return shown


def _of_sweeps(folders: Sequence[Named], folder: Path, before_clocks: Callable[[], None]) -> tuple[Page, list[Path]]:
    studies = [load_study(one) for one in folders]
    styles, files = charts.styles_of(studies), []
    cells = {study.name: cells_of(study) for study in studies}
    for study in studies:
        drawn = charts.all_returns(study, styles)
        for axis in AXES:
            files += write_figure(drawn, axis, folder / f"{study.stem}-{axis.replace('_', '-')}")
        if placed := on_map(study, cells[study.name]):
            files += write_map(placed, folder / f"{study.stem}-cells")
    evidence = folder / "evidence.json"
    every = [cell for own in cells.values() for cell in own]
    names = [study.name for study in studies]
    source = ", ".join(names) if len(names) <= 3 else f"{len(names)} sweeps"
    write_whole(evidence, dump_evidence(every, source))
    files.append(evidence)
    before_clocks()
    return sweep_page(studies, cells, timelines(studies)), files


def _of_runs(folders: Sequence[Named], folder: Path, before_clocks: Callable[[], None]) -> tuple[Page, list[Path]]:
    runs, files = [load_run(one) for one in folders], []
    for axis in ("simulated_time", "iteration"):
        files += write_figure(run_charts(runs), axis, folder / f"run-{axis.replace('_', '-')}")
    before_clocks()
    return run_page(runs), files


def _of_systems(folders: Sequence[Named], folder: Path, before_clocks: Callable[[], None]) -> tuple[Page, list[Path]]:
    del before_clocks  # no clock is played
    runs, files = [load_system_run(one) for one in folders], []
    for axis in ("simulated_time", "iteration"):
        files += write_figure(system_charts(runs), axis, folder / f"run-{axis.replace('_', '-')}")
    return system_page(runs), files


_PAGES = {"sweep": _of_sweeps, "run": _of_runs}


def _kind(path: Path) -> str:
    if (path / PLAN).is_file():
        return "sweep"
    if (path / "config.yaml").is_file():
        system = system_of(path / "config.yaml")
        return "run" if system is None else f"run of {system().system}"
    raise UserError(f"{path}: is no folder of a run or a sweep, such as nigt train and nigt sweep make")
