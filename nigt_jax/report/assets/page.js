"use strict";
// Draws every section's charts from the page's own data; lines are toggled for all charts of a section together.
(() => {
  const content = JSON.parse(document.getElementById("content").textContent);
  const { colours, dashes, markers } = content.styles;
  const of = (list, place) => list[place % list.length];
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const faint = (colour) => colour + "26";
  const sections = [];

  function traces(chart, axis, hidden) {
    const out = [];
    for (const series of chart.series) {
      const data = series.data[axis];
      if (!data || hidden.has(series.name)) continue;
      const colour = of(colours, series.style);
      out.push({
        x: data.x.concat(data.x.slice().reverse()), y: data.high.concat(data.low.slice().reverse()),
        fill: "toself", fillcolor: faint(colour), line: { width: 0 }, mode: "lines", hoverinfo: "skip", showlegend: false,
      });
      out.push({
        x: data.x, y: data.y, customdata: data.low.map((low, k) => [low, data.high[k]]), name: series.name,
        mode: "lines+markers", line: { color: colour, width: 2.2, dash: of(dashes, series.style) },
        marker: { symbol: of(markers, series.style), size: 6, maxdisplayed: 8, color: colour },
        hovertemplate: "%{y:.4g} (%{customdata[0]:.4g} to %{customdata[1]:.4g})", showlegend: false,
      });
    }
    return out;
  }

  // Names at the ends of lines, moved apart where they would cover each other.
  function labels(chart, axis, hidden, drawn) {
    const shown = chart.series.filter((series) => series.data[axis] && !hidden.has(series.name));
    const all = drawn.flatMap((trace) => trace.y);
    const top = Math.max(...all);
    const gap = (top - Math.min(...all)) * 0.085;
    let used = -Infinity;
    const placed = shown
      .map((series) => ({ series, x: series.data[axis].x.at(-1), y: series.data[axis].y.at(-1) }))
      .sort((a, b) => a.y - b.y)
      .map((end) => ({ ...end, place: (used = Math.max(end.y, used + gap)) }));
    return placed.map(({ series, x, place }, number) => ({
      xref: "x", yref: "y", x: chart.log_x.includes(axis) ? Math.log10(x) : x, y: Math.min(place, top - gap * (placed.length - 1 - number)),
      xanchor: "left", xshift: 6, showarrow: false, text: series.name,
      font: { size: 11, color: of(colours, series.style) },
    }));
  }

  // The range of what is drawn: names beside it do not count.
  function reach(chart, axis, hidden) {
    const all = chart.series.filter((s) => s.data[axis] && !hidden.has(s.name)).flatMap((s) => s.data[axis].x);
    if (!all.length) return undefined;
    const ends = [Math.min(...all), Math.max(...all)].map((x) => (chart.log_x.includes(axis) ? Math.log10(x) : x));
    const margin = 0.02 * (ends[1] - ends[0] || 1);
    return [ends[0] - margin, ends[1] + margin];
  }

  function layout(chart, axis, hidden, drawn, width) {
    const wide = width > 330;
    const line = { gridcolor: css("--grid"), zeroline: false, linecolor: css("--line"), tickcolor: css("--line"), automargin: true };
    const shapes = chart.threshold === null ? [] : [{
      type: "line", xref: "paper", x0: 0, x1: 1, y0: chart.threshold, y1: chart.threshold,
      line: { color: css("--soft"), width: 1, dash: "dot" },
    }];
    const named = wide && drawn.length ? labels(chart, axis, hidden, drawn) : [];
    const longest = named.reduce((most, label) => Math.max(most, label.text.length), 0);
    return {
      title: { text: chart.title, font: { size: 14 }, x: 0.02, xanchor: "left" },
      font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: css("--ink") },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      margin: { l: 52, r: wide ? 14 + Math.min(6.4 * longest, 130) : 14, t: 36, b: 46 },
      xaxis: { ...line, title: { text: chart.axes[axis], standoff: 6 }, type: chart.log_x.includes(axis) ? "log" : "linear",
        exponentformat: "power", range: reach(chart, axis, hidden) },
      yaxis: { ...line, title: { text: chart.y, standoff: 6 } },
      shapes, annotations: named, hovermode: "x unified",
      hoverlabel: { bgcolor: css("--paper"), bordercolor: css("--line"), font: { color: css("--ink"), size: 11 } },
    };
  }

  function draw(section) {
    section.plots.forEach((plot, place) => {
      const chart = section.charts[place];
      const axis = section.axis in chart.axes ? section.axis : Object.keys(chart.axes)[0];
      const drawn = traces(chart, axis, section.hidden);
      Plotly.react(plot, drawn, layout(chart, axis, section.hidden, drawn, plot.clientWidth), {
        displayModeBar: false, responsive: true, showTips: false,
      });
    });
  }

  function sample(style) {
    const colour = of(colours, style);
    const dash = { solid: "", dash: "6 3", dot: "2 2", dashdot: "6 2 2 2", longdash: "10 3", longdashdot: "10 2 2 2" }[of(dashes, style)];
    return `<svg width="26" height="8" aria-hidden="true"><line x1="0" y1="4" x2="26" y2="4" stroke="${colour}" stroke-width="3" stroke-dasharray="${dash}"/></svg>`;
  }

  function bar(section, place) {
    const bar = document.createElement("div");
    bar.className = "bar";
    const styles = new Map(section.charts.flatMap((chart) => chart.series.map((series) => [series.name, series.style])));
    for (const [name, style] of styles) {
      const chip = document.createElement("button");
      chip.type = "button";
      chip.className = "chip";
      chip.setAttribute("aria-pressed", "true");
      chip.innerHTML = sample(style);
      chip.append(name);
      chip.addEventListener("click", () => {
        const hide = !section.hidden.has(name);
        section.hidden[hide ? "add" : "delete"](name);
        chip.setAttribute("aria-pressed", String(!hide));
        draw(section);
      });
      bar.append(chip);
    }
    const axes = Object.entries(section.charts[0].axes);
    if (axes.length > 1) {
      const label = document.createElement("label");
      label.className = "axis";
      label.append("against ");
      const select = document.createElement("select");
      for (const [key, text] of axes) select.append(new Option(text, key));
      select.addEventListener("change", () => { section.axis = select.value; draw(section); });
      label.append(select);
      bar.append(label);
    }
    place.append(bar);
  }

  for (const place of document.querySelectorAll(".drawing")) {
    const charts = content.sections[Number(place.dataset.section)].charts;
    const section = { charts, axis: Object.keys(charts[0].axes)[0], hidden: new Set(), plots: [] };
    bar(section, place);
    const grid = document.createElement("div");
    grid.className = "charts";
    place.append(grid);
    for (const chart of charts) {
      const plot = document.createElement("div");
      plot.className = "chart";
      plot.setAttribute("role", "img");
      plot.setAttribute("aria-label", `${chart.title}: ${chart.y}`);
      grid.append(plot);
      section.plots.push(plot);
    }
    draw(section);
    sections.push(section);
  }
  const again = () => sections.forEach(draw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
  let waiting;
  addEventListener("resize", () => { clearTimeout(waiting); waiting = setTimeout(again, 120); });
})();
