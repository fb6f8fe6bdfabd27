"""The page of one or more sweeps. Needs no JAX, but for the workers' timeline."""

import collections
import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from nigt_jax.report import _charts as charts
from nigt_jax.report._claims import compared, seen_in_paper
from nigt_jax.report._content import Chart, Picture, Section, Table, command, number, with_interval
from nigt_jax.report._map import Cell, is_map, lead_predicted, on_map, scale_in_words
from nigt_jax.report._map_page import map_section
from nigt_jax.report._page import Page
from nigt_jax.report._study import Study, versions
from nigt_jax.report._verdict import Overall, Verdict, judge, over_environments
from nigt_jax.report._work_section import work_section
from nigt_jax.report._workers import picture_of_workers
from nigt_jax.statistics import Interval

_PACKAGES = ("nigt_jax", "jax", "brax")


def sweep_page(studies: Sequence[Study], cells: Mapping[str, Sequence[Cell]], pictures: Sequence[Picture]) -> Page:
    """The page of some sweeps.

    Args:
      studies: the sweeps.
      cells: what is predicted of each, by its name.
      pictures: timelines of workers.
    """
    styles = charts.styles_of(studies)
    verdicts = {study.name: [judge(panel) for panel in study.panels] for study in studies}
    sections = [_summary(studies, verdicts, cells)]
    sections.extend(_results(study, verdicts[study.name], styles) for study in studies)
    maps = {study.name: on_map(study, cells[study.name]) for study in studies}
    sections.extend(map_section(study, maps[study.name]) for study in studies if maps[study.name])
    if overall := over_environments(studies):
        sections.append(_over_environments(overall))
    sections.append(work_section(studies, pictures))
    if any(study.choices for study in studies):
        sections.append(_tuning(studies, styles))
    sections.append(_protocol(studies))
    title = studies[0].name if len(studies) == 1 else f"{len(studies)} sweeps"
    return Page(f"nigt_jax: {title}", _lead(studies, verdicts), sections)


def sentences(verdict: Verdict) -> str:
    """Who is first in a panel and who is best at its end, by how much, and how sure that is."""
    return " ".join(filter(None, [_of_times(verdict), _of_ending(verdict)]))


def _of_ending(verdict: Verdict) -> str:
    ending = verdict.ending
    if ending is None:
        return ""
    return (
        f"At the end {ending.best.name} has the highest median return, {number(ending.medians[0])} against "
        f"{number(ending.medians[1])} of {ending.rival.name}; a run of it is better with a probability of "
        f"{_percent(ending.better)}."
    )


def _of_times(verdict: Verdict) -> str:
    panel = verdict.panel
    if verdict.first is None:
        return "No line reaches the threshold in its median run."
    if verdict.rival is None or verdict.lead is None:
        return f"{verdict.first.name} is alone."
    lead, rival = verdict.lead, verdict.rival
    other = rival.config.method.name != verdict.first.config.method.name
    who = f"the {'best line of another method' if other else 'next line'}, {rival.name},"
    wins = f"{verdict.first.name} reaches a return of {number(panel.threshold)} first"
    if np.isinf(lead.value) and np.isinf(lead.high) and lead.low > 1:
        low = "" if np.isinf(lead.low) else f", and takes at least {number(lead.low)} times as long"
        return f"{wins}; {who} does not by simulated time {number(panel.end)}{low} (95% interval)."
    times = f"{number(lead.value)} times as long (95% interval {number(lead.low)} to {number(lead.high)})"
    if verdict.is_clear:
        return f"{wins}; {who} takes {times}."
    return f"Not decided: {wins}, and {who} takes {times}; the interval includes 1."


def _lead(studies: Sequence[Study], verdicts: dict[str, list[Verdict]]) -> list[str]:
    methods = lambda verdict: {line.config.method.name for line in verdict.panel.lines}
    every = [verdict for own in verdicts.values() for verdict in own if len(methods(verdict)) > 1]
    clear = [verdict for verdict in every if verdict.is_clear]
    wins = collections.Counter(verdict.first.config.method.name for verdict in clear if verdict.first is not None)
    told = ", ".join(f"{method} in {count}" for method, count in wins.most_common())
    lead = [
        f"{len(every)} {'panels' if len(every) != 1 else 'panel'} of several methods: in {len(clear)} of them one is "
        "ahead of all others with 95% confidence" + (f" ({told})." if told else ".")
        + " Ahead means: its median run reaches the panel's threshold in less simulated time."
    ]  # fmt: skip
    missing = sum(study.missing for study in studies)
    if missing:
        lead.append(f"Not complete: {missing:,} runs are not done yet.")
    return lead


def _summary(
    studies: Sequence[Study], verdicts: dict[str, list[Verdict]], cells: Mapping[str, Sequence[Cell]]
) -> Section:
    rows, differing = [], []
    for study in studies:
        predictions = {} if is_map(study) else {cell.panel.name: cell for cell in cells[study.name]}
        for verdict in verdicts[study.name]:
            cell = predictions.get(verdict.panel.name)
            rows.append(_summary_row(study, verdict, cell))
            seen = seen_in_paper(verdict.panel)
            if seen is not None and compared(verdict).startswith("differs"):
                differing.append(
                    f"{study.name}, {verdict.panel.name}: {compared(verdict)}. {_explained(verdict, cell)}"
                )
    head = ["panel", "first", "next", "takes so many times as long", "clear", "predicted first",
            "best at the end", "the paper", "here"]  # fmt: skip
    texts = [
        "Times are simulated: what workers of the speeds of each scenario would need. Intervals are 95% bootstrap "
        "intervals over seeds. Clear: the interval lies above 1. Predicted: by the clocks and the noise of gradients "
        "alone, as the map explains. What the paper sees is read off its curves, which are of MuJoCo environments; "
        "these here are their Brax counterparts, so orders compare and returns do not.",
        *(["What differs from the paper:"] if differing else []),
        *differing,
    ]
    return Section("Who is first", "summary", texts, tables=[Table("Time to the threshold", head, rows)])


def _summary_row(study: Study, verdict: Verdict, cell: Cell | None) -> list[str]:
    first, rival, lead, seen = verdict.first, verdict.rival, verdict.lead, seen_in_paper(verdict.panel)
    return [
        f"{study.name}, {verdict.panel.name}",
        "-" if first is None else first.name,
        "-" if rival is None else rival.name,
        "-" if lead is None else with_interval(lead),
        "yes" if verdict.is_clear else "no",
        "-" if cell is None else f"{cell.first_predicted.name} ({lead_predicted(cell):.2g}x)",
        "-" if verdict.ending is None else f"{verdict.ending.best.name} ({verdict.ending.better.value:.0%})",
        seen or "-",
        "-" if seen is None else compared(verdict),
    ]


def _explained(verdict: Verdict, cell: Cell | None) -> str:
    """Whether clocks and noise alone say the same as was measured, against the paper."""
    if cell is None or verdict.first is None or verdict.rival is None:
        return ""
    first = cell.first_predicted
    scale, lead = scale_in_words(cell.noise_scale), lead_predicted(cell)
    told = (
        f"Clocks and noise alone, with a noise scale of single gradients that is {scale}, predict {first.name} first, "
        f"by {lead:.2g}x"
    )
    if first.config.method.name == verdict.first.config.method.name:
        return f"{told}: the same as measured, so it is a matter of how noisy these gradients are."
    return (
        f"{told}, so they do not explain it: what they leave out is stale gradients, how noise changes, and step sizes."
    )


def _results(study: Study, verdicts: Sequence[Verdict], styles: dict[str, int]) -> Section:
    texts = [f"{verdict.panel.name}: {sentences(verdict)}" for verdict in verdicts]
    for panel in study.panels:
        broken = [f"{line.name} ({line.failed})" for line in panel.lines if line.failed]
        if broken:
            texts.append(
                f"{panel.name}: runs that could not go on: {', '.join(broken)}; they count with what they had."
            )
    tables = [_table(verdict, study) for verdict in verdicts]
    drawn = charts.all_returns(study, styles)
    caption = f"{study.environment}: median over {len(study.seeds)} seeds, band from the 20th to the 80th percentile"
    return Section(study.name, f"sweep-{study.stem}", [caption + ".", *texts], drawn, tables)


def _table(verdict: Verdict, study: Study) -> Table:
    panel = verdict.panel
    head = ["line", *study.tuned, "area", "return at the end", f"time to {number(panel.threshold)}"]
    head += ["runs that reach it", "better than the best of another method"]
    rows = []
    for row in verdict.rows:
        values = study.choices[row.line.case].values if study.choices else {}
        low, middle, high = row.final
        rows.append(
            [
                row.line.name,
                *(f"{values[key]:g}" if isinstance(values[key], float) else str(values[key]) for key in study.tuned),
                with_interval(row.area),
                f"{number(middle)} ({number(low)} to {number(high)})",
                with_interval(row.time),
                f"{row.reached} of {len(row.line.last)}",
                _percent(row.better),
            ]
        )
    return Table(f"{panel.name}, up to simulated time {number(panel.end)}", head, rows)


def _percent(found: Interval | None) -> str:
    return "-" if found is None else f"{found.value:.0%} ({found.low:.0%} to {found.high:.0%})"


def _over_environments(overall: Sequence[Overall]) -> Section:
    texts = [
        "Interquartile mean, over environments and seeds, of the area under the return; 0 is the untrained policy and "
        "1 the best line's median of each environment. In brackets 95% stratified bootstrap intervals, as rliable has "
        "them."
    ]
    names = list(dict.fromkeys(name for scenario in overall for name in scenario.scores))
    rows = [
        [
            f"{scenario.scenario} ({', '.join(scenario.environments)})",
            *(with_interval(scenario.scores[name]) if name in scenario.scores else "-" for name in names),
        ]
        for scenario in overall
    ]
    return Section("All environments together", "environments", texts, tables=[Table("", ["scenario", *names], rows)])


def _tuning(studies: Sequence[Study], styles: dict[str, int]) -> Section:
    tuned = [study for study in studies if study.choices]
    drawn = [chart for study in tuned for chart in _tuning_charts(study, styles)]
    edges = [text for study in tuned for text in _edges(study)]
    price = ", ".join(f"{study.name}: {study.runs:,} runs, {study.computed:,} of them computed" for study in tuned)
    texts = [
        "Every line had the same values to choose from and the same seeds to choose by; the value with the largest "
        "mean area under the return, up to the time that all runs of its scenario have, was taken. What is reported is "
        f"of other seeds. {price}.",
        "On the edge of what was tried, so that a better value may lie beyond: " + "; ".join(edges) + "."
        if edges
        else "No chosen value lies on the edge of what was tried.",
    ]
    return Section("Tuning", "tuning", texts, drawn)


def _tuning_charts(study: Study, styles: dict[str, int]) -> list[Chart]:
    found = [(panel, charts.tuning(study, panel, styles)) for panel in study.panels]
    named = lambda panel: f"{study.name}, {panel.name}"
    return [dataclasses.replace(chart, title=named(panel)) for panel, chart in found if chart is not None]


def _edges(study: Study) -> list[str]:
    found = []
    for case, choice in study.choices.items():
        for key in study.tuned:
            tried = [entry["values"][key] for entry in choice.tried]
            if all(isinstance(value, int | float) for value in tried) and choice.values[key] in (
                min(tried),
                max(tried),
            ):
                found.append(f"{study.name}, {case}: {key} = {choice.values[key]:g}")
    return found


def _protocol(studies: Sequence[Study]) -> Section:
    config = studies[0].panels[0].lines[0].config
    texts = [
        "A seed decides the initial policy, the evaluation's episodes and the workers' random times, so all lines of a "
        f"panel begin at the same policy and are evaluated on the same {config.evaluation.episodes} episodes, with the "
        "stochastic policy, always of the iterate and never of the query point.",
        "Area: the mean return over simulated time from 0 to the time that all runs of the panel have, by trapezoids. "
        "Threshold: 80% of the way from the untrained policy's return to the second best line's median return there. "
        "Time to it: interpolated between evaluations; a run that has not reached it by the end counts as never. "
        "Interquartile means, probabilities of improvement and percentile bootstrap intervals follow rliable; of five "
        "seeds an interval is rough, and since the same runs say who is first and by how much, it leans toward a lead.",
        "Runs that differ in simulated times alone, since the same gradients count, are computed once.",
    ]
    head = ["sweep", "runs", "computed", "seeds", "tuned on", "budget", "time in rounds", "on", *_PACKAGES]
    rows = [_where(study) for study in studies]
    commands = [command for study in studies for command in _again(study)]
    commands.append(command("report", *(study.path for study in studies)))
    details = {f"Settings of {study.name}": _settings(study) for study in studies}
    table = Table("What was run, and on what", head, rows)
    return Section("Protocol", "protocol", texts, tables=[table], commands=commands, details=details)


def _where(study: Study) -> list[str]:
    packages, lines = versions(study.provenance), [line for panel in study.panels for line in panel.lines]
    budgets = dict.fromkeys(" or ".join(map(str, line.config.training.ends)) for line in lines)
    return [
        study.name,
        f"{study.runs:,}",
        f"{study.computed:,}",
        ", ".join(map(str, study.seeds)),
        ", ".join(map(str, study.tuning_seeds)) or "-",
        ", ".join(budgets),
        f"{study.wall / 60:,.0f} min",
        study.provenance.platform,
        *(packages.get(name, "-") for name in _PACKAGES),
    ]


def _again(study: Study) -> list[str]:
    return [command("sweep", study.path / "sweep.yaml", "--name", f"{study.stem}-again")]


def _settings(study: Study) -> str:
    return (study.path / "sweep.yaml").read_text(encoding="utf-8")


def timelines(studies: Sequence[Study]) -> list[Picture]:
    """The first rounds of the first line of every scenario: what each worker does.

    Sweeps that have a scenario in common share a picture where it is the same, and have their names in it otherwise.
    """
    found: dict[Picture, list[str]] = {}
    for study in studies:
        for panel in study.panels:
            line = panel.lines[0]
            alt = f"{panel.name}: what every worker does in the first rounds of {line.name}"
            if (picture := picture_of_workers(line.config, line.last[0], alt)) is not None:
                found.setdefault(picture, []).append(study.name)
    alike = collections.Counter(picture.alt for picture in found)
    return [
        dataclasses.replace(picture, alt=f"{', '.join(names)}, {picture.alt}") if alike[picture.alt] > 1 else picture
        for picture, names in found.items()
    ]
