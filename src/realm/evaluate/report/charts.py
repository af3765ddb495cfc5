"""The charts of the page, as HTML fragments that share one inlined copy of plotly.js."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from realm.evaluate.report.tables import sort_evaluations
from realm.evaluate.report.words import label

if TYPE_CHECKING:
    from realm.evaluate.results import Results

ASSISTED, AUTONOMOUS, ROUTES = "#2563eb", "#d97706", "#94a3b8"
SOUND, FLAWED, SHARE, GAP = "#0f766e", "#be185d", "#475569", "#7c3aed"
COLOURS = {"assisted": ASSISTED, "autonomous": AUTONOMOUS, "routes": ROUTES, "sampled": "#b45309"}
MORE_COLOURS = (SOUND, FLAWED, GAP, SHARE, "#65a30d", "#0891b2", "#db2777", "#334155")
"""For what `COLOURS` does not name, in the order in which it comes."""
Point = tuple[str, str, float, Sequence[float], Sequence[float]]
"""(line, series, share, its interval, its values by seed)"""


def draw_accuracies(results: Results) -> str:
    """Return accuracy on `test` with its interval, by method and mode; small points are the seeds.

    Without a model the routes are all there is: then by source and way to use them.
    """
    rows = [row for row in results.list_rows("test") if row.source is None]
    if not rows:
        points = [
            (str(row.source), row.method, row.accuracy, row.ci95, ()) for row in results.evaluations
        ]
        return _draw_intervals(points, "accuracy", sort=False)
    rows = sort_evaluations(rows)
    points = [
        (row.method if row.seeds else label(row), row.mode, row.accuracy, row.ci95, row.per_seed)
        for row in rows
    ]
    return _draw_intervals(points, "accuracy", view=_choose_view(results), sort=bool(rows[0].seeds))


def draw_ablations(results: Results) -> str | None:
    """Return how far ReaLM is ahead of each ablation; `None` if there are none."""
    points = [
        (row.b, row.family, row.difference, row.ci95, ())
        for row in results.comparisons
        if row.family.startswith("ablations")
    ]
    return _draw_intervals(points, "ablations", title="ReaLM minus ablation") if points else None


def _choose_view(results: Results) -> list[float]:
    """Return the range of accuracies shown at first.

    A comparison leaves out the model before any training, which may lie far below all others.
    """
    if not results.methods:
        return [0, 101]
    rows = results.list_rows("test")
    trained = [row for row in rows if row.method != "base"] or rows
    lowest, highest = min(row.ci95[0] for row in trained), max(row.ci95[1] for row in rows)
    return [100 * lowest - 3, 100 * highest + 3]


def _assign_colours(names: Sequence[str]) -> dict[str, str]:
    """Return a colour for each distinct name, in the order of the names."""
    others = [name for name in dict.fromkeys(names) if name not in COLOURS]
    more = {name: MORE_COLOURS[i % len(MORE_COLOURS)] for i, name in enumerate(others)}
    return {name: (COLOURS | more)[name] for name in dict.fromkeys(names)}


def _draw_intervals(
    points: Sequence[Point],
    name: str,
    *,
    view: Sequence[float] | None = None,
    title: str | None = None,
    sort: bool = False,
) -> str:
    """Return a chart of points with intervals: a group of lines for each name, a colour a series.

    Args:
        points: What to draw, in points.
        name: The id of the chart in the page.
        view: The range of the x axis.
        title: The title of the x axis.
        sort: Put the lines with the highest values at the top.
    """
    lines = list(dict.fromkeys(point[0] for point in points))
    if sort:
        lines.sort(key=lambda line: -max(point[2] for point in points if point[0] == line))
    figure = go.Figure()
    heights = _place_lines(figure, lines, points)
    for series, colour in _assign_colours([point[1] for point in points]).items():
        chosen = [point for point in points if point[1] == series]
        ys = [heights[point[0], series] for point in chosen]
        figure.add_scatter(
            x=[100 * point[2] for point in chosen],
            y=ys,
            text=[point[0] for point in chosen],
            name=series,
            legendgroup=series,
            mode="markers",
            marker={"color": colour, "size": 9},
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [100 * (point[3][1] - point[2]) for point in chosen],
                "arrayminus": [100 * (point[2] - point[3][0]) for point in chosen],
                "color": colour,
                "thickness": 1.5,
                "width": 3,
            },
            hovertemplate=f"%{{text}}, {series}: %{{x:.1f}}<extra></extra>",
        )
        seeds = [(100 * x, y) for point, y in zip(chosen, ys, strict=True) for x in point[4]]
        if len(seeds) > len(chosen):
            _add_faint(figure, seeds, colour, legendgroup=series)
    if name == "accuracy":
        figure.update_xaxes(ticksuffix="%", range=view)
    else:
        figure.add_vline(x=0, line={"color": SHARE, "width": 1})
        figure.update_xaxes(title_text=f"{title}, points")
    return _render(figure, name, height=150 + 14 * (len(lines) + len(points)))


def _place_lines(
    figure: go.Figure, lines: Sequence[str], points: Sequence[Point]
) -> dict[tuple[str, str], float]:
    """Label the y axis, and return a height of its own for each (line, series)."""
    heights: dict[tuple[str, str], float] = {}
    ticks, height = [], 0.0
    for line in reversed(lines):
        own = [point[1] for point in points if point[0] == line][::-1]
        heights |= {(line, series): height + place for place, series in enumerate(own)}
        ticks.append(height + (len(own) - 1) / 2)
        height += len(own) + 1
    figure.update_yaxes(tickvals=ticks, ticktext=lines[::-1], range=[-1, height - 1])
    return heights


def draw_tokens(results: Results) -> str:
    """Return accuracy on `test` against the tokens generated per problem.

    A dotted line joins the majorities of 1, 2, ... samples.
    """
    rows = [row for row in results.list_rows("test") if row.tokens_per_problem]
    figure = go.Figure()
    for mode, colour in _assign_colours([row.mode for row in rows]).items():
        here = [row for row in rows if row.mode == mode]
        figure.add_scatter(
            x=[row.tokens_per_problem for row in here],
            y=[100 * row.accuracy for row in here],
            text=[row.method for row in here],
            name=mode,
            mode="markers",
            marker={"color": colour, "size": 10},
            hovertemplate="%{text}: %{y:.1f}% at %{x:.0f} tokens<extra></extra>",
        )
    for row in rows:
        curve = row.figures.get("curve", [])
        steps = [row.tokens_per_problem * (n + 1) / len(curve) for n in range(len(curve))]
        figure.add_scatter(
            x=steps,
            y=[100 * value for value in curve],
            mode="lines",
            line={"color": ROUTES, "width": 1.5, "dash": "dot"},
            name=f"{row.method}: majority of n",
            showlegend=False,
        )
    figure.update_xaxes(title_text="generated tokens per problem")
    figure.update_yaxes(ticksuffix="%", range=_choose_view(results))
    return _render(figure, "tokens", height=460)


def draw_fade(fade: Sequence[Mapping[str, Any]]) -> str:
    """Return how guidance fades over training, the reward with and without routes, and the gap.

    Under the gated fade guidance and gap are also those of each bucket of problems.
    """
    rows = {"rows": 3, "row_heights": [0.3, 0.4, 0.3], "vertical_spacing": 0.07}
    axes = [[{"secondary_y": True}], [{}], [{}]]
    figure = make_subplots(**rows, cols=1, shared_xaxes=True, specs=axes)
    steps, shown = [row["step"] for row in fade], [row["routes_shown"] for row in fade]
    guidance = {"fill": "tozeroy", "fillcolor": "rgba(71,85,105,.12)", "name": "share of guidance"}
    shares = [row["share"] for row in fade]
    _add_line(figure, steps, shares, 1, {"color": SHARE, "width": 2}, **guidance)
    dotted = {"color": ASSISTED, "width": 1.5, "dash": "dot"}
    _add_line(figure, steps, shown, 1, dotted, name="routes shown (mean)", secondary_y=True)
    for mode, colour in (("assisted", ASSISTED), ("autonomous", AUTONOMOUS)):
        points = [(row["step"], row.get(f"{mode}_reward")) for row in fade]
        _add_smoothed(figure, points, 2, f"{mode} reward", colour)
    gaps = _find_gaps(fade, "assisted_answer", "autonomous_answer")
    _add_smoothed(figure, gaps, 3, "autonomy gap", GAP)
    _add_buckets(figure, [row for row in fade if row.get("bucket_share")])
    figure.update_yaxes(title_text="share", range=[0, 1.05], row=1, col=1, secondary_y=False)
    routes = {"title_text": "routes", "range": [0, 1.05 * max(*shown, 1)], "showgrid": False}
    figure.update_yaxes(**routes, nticks=4, row=1, col=1, secondary_y=True)
    figure.update_yaxes(title_text="reward", row=2, col=1)
    figure.update_yaxes(title_text="gap, points", zeroline=True, row=3, col=1)
    figure.update_xaxes(title_text="training step", row=3, col=1)
    return _render(figure, "fade", height=640)


def _find_gaps(
    rows: Sequence[Mapping[str, Any]], assisted: str, autonomous: str, bucket: int | None = None
) -> list[tuple[int, float | None]]:
    """Return assisted minus autonomous accuracy by step, in points; `None` if one is unknown."""
    gaps: list[tuple[int, float | None]] = []
    for row in rows:
        pair = [row.get(assisted), row.get(autonomous)]
        if bucket is not None:
            pair = [values[bucket] for values in pair]
        gaps.append((row["step"], None if None in pair else 100 * (pair[0] - pair[1])))
    return gaps


def _add_buckets(figure: go.Figure, rows: Sequence[Mapping[str, Any]]) -> None:
    """Draw share and gap of each bucket of the gated fade, the hardest in the darkest colour."""
    count = len(rows[0]["bucket_share"]) if rows else 0
    for bucket in range(count):
        name = f"bucket {bucket + 1} of {count}"
        line = {"color": f"rgba(13,148,136,{1 - 0.7 * bucket / count:.2f})", "width": 1.5}
        shares = [row["bucket_share"][bucket] for row in rows]
        legend = {"name": name, "legendgroup": name}
        _add_line(figure, [row["step"] for row in rows], shares, 1, line, **legend)
        gaps = _find_gaps(rows, "bucket_assisted", "bucket_autonomous", bucket)
        known = [(step, gap) for step, gap in gaps if gap is not None]
        if known:
            _add_line(figure, *zip(*known, strict=True), 3, line, **legend, showlegend=False)


def _add_line(
    figure: go.Figure,
    x: Sequence[float],
    y: Sequence[float],
    row: int,
    line: Mapping[str, Any],
    **more: Any,
) -> None:
    figure.add_scatter(x=x, y=y, line=line, row=row, col=1, **more)


def _add_smoothed(
    figure: go.Figure,
    points: Sequence[tuple[int, float | None]],
    row: int,
    name: str,
    colour: str,
) -> None:
    """Draw faint points and their moving mean."""
    known = [(step, value) for step, value in points if value is not None]
    if known:
        _add_faint(figure, known, colour, row=row, col=1)
        steps, values = zip(*known, strict=True)
        line = {"color": colour, "width": 2.5}
        _add_line(figure, steps, smooth(values), row, line, name=name)


def _add_faint(
    figure: go.Figure, points: Sequence[tuple[float, float]], colour: str, **more: Any
) -> None:
    x, y = zip(*points, strict=True)
    marker = {"color": colour, "size": 4, "opacity": 0.3}
    figure.add_scatter(
        x=x, y=y, mode="markers", marker=marker, showlegend=False, hoverinfo="skip", **more
    )


def smooth(values: Sequence[float]) -> list[float]:
    """Return the moving mean of `values` over the last twentieth of them.

    >>> smooth([1.0, 3.0])
    [1.0, 3.0]
    """
    window = max(1, len(values) // 20)
    return [fmean(values[max(0, place - window + 1) : place + 1]) for place in range(len(values))]


def draw_verdicts(results: Results) -> str:
    """Return verdict accuracy on sound and on flawed routes, per method, on `test`."""
    rows = [row for row in results.list_rows("test") if "verdict_accuracy" in row.figures]
    figure = go.Figure()
    for word, colour in (("sound", SOUND), ("flawed", FLAWED)):
        shares = [row.figures.get(f"verdict_accuracy_{word}") for row in rows]
        figure.add_bar(
            x=[row.method for row in rows],
            y=[None if share is None else 100 * share for share in shares],
            text=["" if share is None else f"{100 * share:.0f}%" for share in shares],
            textposition="outside",
            cliponaxis=False,
            name=f"{word} routes",
            marker_color=colour,
            hovertemplate="%{x}: %{y:.1f}%<extra></extra>",
        )
    figure.update_layout(barmode="group", bargap=0.45, bargroupgap=0.08)
    figure.update_yaxes(range=[0, 108], tickvals=[0, 25, 50, 75, 100], ticksuffix="%")
    return _render(figure, "verdicts", height=320)


def draw_lengths(bank: Sequence[Mapping[str, Any]]) -> str:
    """Return the length of each source's routes: half in the box, 80% between the whiskers."""
    figure = go.Figure()
    groups = list(dict.fromkeys(row["group"] for row in bank))
    places = {"lowerfence": "p10", "q1": "p25", "median": "p50", "q3": "p75", "upperfence": "p90"}
    for group, colour in zip(groups, (SHARE, ASSISTED), strict=False):
        rows = [row for row in bank if row["group"] == group][::-1]
        figure.add_box(
            y=[row["source"] for row in rows],
            **{key: [row["words"][place] for row in rows] for key, place in places.items()},
            orientation="h",
            name=f"{group} problems",
            marker_color=colour,
            line_width=1.5,
            showlegend=len(groups) > 1,
        )
    figure.update_layout(boxmode="group")
    figure.update_xaxes(title_text="words of a route", rangemode="tozero")
    return _render(figure, "lengths", height=110 + 34 * len(bank))


def _render(figure: go.Figure, name: str, *, height: int) -> str:
    figure.update_layout(
        template="plotly_white",
        height=height,
        margin={"l": 10, "r": 10, "t": 40, "b": 40},
        font={"family": "system-ui, sans-serif", "size": 13, "color": "#334155"},
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
    )
    figure.update_yaxes(automargin=True)
    return figure.to_html(
        full_html=False,
        include_plotlyjs=False,
        div_id=name,
        config={"displayModeBar": False, "responsive": True},
    )
