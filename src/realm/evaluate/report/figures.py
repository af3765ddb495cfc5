"""The report's charts, as HTML fragments that share one inlined copy of plotly.js."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs
from plotly.subplots import make_subplots

from realm.evaluate.results import label, ordered

ASSISTED, AUTONOMOUS, ROUTES = "#2563eb", "#d97706", "#94a3b8"
SOUND, FLAWED, SHARE, GAP = "#0f766e", "#be185d", "#475569", "#7c3aed"
_COLOURS = {"assisted": ASSISTED, "autonomous": AUTONOMOUS, "routes": ROUTES}


def plotly_script() -> str:
    """Return plotly.js itself."""
    return get_plotlyjs()


def accuracy_figure(results: Mapping[str, Any]) -> str:
    """Return accuracy on `test` with its interval, one line per method and mode; routes by source are in the table only.

    Without a model the routes are all there is: one line per source.
    """
    rows = [row for row in ordered(results, "test") if "source" not in row]
    if not rows:
        return _bank_figure(results)
    names = [
        label(row) if row["mode"] == "routes" else f"{label(row)}, {row['mode']}" for row in rows
    ]
    return _intervals(
        [(row["mode"], name, row) for name, row in zip(names, rows, strict=True)], _COLOURS
    )


def _bank_figure(results: Mapping[str, Any]) -> str:
    """Return the accuracy of one route, of the majority and of any route, one line per source."""
    rows = results["evaluations"]
    colours = dict(
        zip(dict.fromkeys(row["method"] for row in rows), (ROUTES, ASSISTED, SOUND), strict=False)
    )
    return _intervals([(row["method"], row["source"], row) for row in rows], colours)


def _intervals(
    points: Sequence[tuple[str, str, Mapping[str, Any]]], colours: Mapping[str, str]
) -> str:
    """Return a chart of (colour's name, line, evaluation): a point at the accuracy and its interval."""
    figure = go.Figure()
    lines = list(dict.fromkeys(line for _, line, _ in points))[::-1]
    for name, colour in colours.items():
        chosen = [(line, row) for which, line, row in points if which == name]
        if not chosen:
            continue
        accuracy = [100 * row["accuracy"] for _, row in chosen]
        figure.add_scatter(
            x=accuracy,
            y=[line for line, _ in chosen],
            name=name,
            mode="markers",
            orientation="h",
            marker={"color": colour, "size": 11},
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [
                    100 * row["ci95"][1] - value
                    for (_, row), value in zip(chosen, accuracy, strict=True)
                ],
                "arrayminus": [
                    value - 100 * row["ci95"][0]
                    for (_, row), value in zip(chosen, accuracy, strict=True)
                ],
                "color": colour,
                "thickness": 2,
                "width": 4,
            },
            hovertemplate=f"%{{y}}, {name}: %{{x:.1f}}%<extra></extra>",
        )
    figure.update_xaxes(range=[0, 101], ticksuffix="%")
    figure.update_yaxes(categoryorder="array", categoryarray=lines)
    if len(points) > len(lines):
        figure.update_layout(scattermode="group", scattergap=0.4)
    return fragment(figure, "accuracy", height=110 + 34 * max(len(lines), len(points) // 2))


def fade_figure(fade: Sequence[Mapping[str, Any]]) -> str:
    """Return the fade of guidance over training and, below it, the reward with and without routes, and the autonomy gap.

    Under the gated fade guidance and gap are also those of each bucket of problems.
    """
    figure = make_subplots(
        rows=3,
        cols=1,
        shared_xaxes=True,
        row_heights=[0.3, 0.4, 0.3],
        vertical_spacing=0.07,
        specs=[[{"secondary_y": True}], [{}], [{}]],
    )
    steps = [row["step"] for row in fade]
    line = {"color": SHARE, "width": 2}
    figure.add_scatter(
        x=steps,
        y=[row["share"] for row in fade],
        name="share of guidance",
        line=line,
        fill="tozeroy",
        fillcolor="rgba(71,85,105,.12)",
        row=1,
        col=1,
    )
    shown = [row["routes_shown"] for row in fade]
    dotted = {"color": ASSISTED, "width": 1.5, "dash": "dot"}
    figure.add_scatter(
        x=steps, y=shown, name="routes shown (mean)", line=dotted, row=1, col=1, secondary_y=True
    )
    for key, name, colour in (
        ("assisted_reward", "assisted reward", ASSISTED),
        ("autonomous_reward", "autonomous reward", AUTONOMOUS),
    ):
        points = [(row["step"], row[key]) for row in fade if row.get(key) is not None]
        if not points:
            continue
        x, y = zip(*points, strict=True)
        faint = {"color": colour, "size": 4, "opacity": 0.25}
        figure.add_scatter(
            x=x, y=y, mode="markers", marker=faint, showlegend=False, hoverinfo="skip", row=2, col=1
        )
        figure.add_scatter(
            x=x, y=smooth(y), name=name, line={"color": colour, "width": 2.5}, row=2, col=1
        )
    _add_gap(figure, fade)
    _add_buckets(figure, fade)
    figure.update_yaxes(title_text="share", range=[0, 1.05], row=1, col=1, secondary_y=False)
    most = max(*shown, 1)
    figure.update_yaxes(
        title_text="routes",
        range=[0, 1.05 * most],
        showgrid=False,
        nticks=4,
        row=1,
        col=1,
        secondary_y=True,
    )
    figure.update_yaxes(title_text="reward", row=2, col=1)
    figure.update_yaxes(title_text="gap, points", zeroline=True, row=3, col=1)
    figure.update_xaxes(title_text="training step", row=3, col=1)
    return fragment(figure, "fade", height=640)


def _add_gap(figure: go.Figure, fade: Sequence[Mapping[str, Any]]) -> None:
    """Draw assisted minus autonomous accuracy, in points, of the steps that had prompts of both modes."""
    pairs = [
        (row["step"], row.get("assisted_answer"), row.get("autonomous_answer")) for row in fade
    ]
    points = [
        (step, 100 * (assisted - alone))
        for step, assisted, alone in pairs
        if None not in (assisted, alone)
    ]
    if points:
        x, y = zip(*points, strict=True)
        faint = {"color": GAP, "size": 4, "opacity": 0.25}
        figure.add_scatter(
            x=x, y=y, mode="markers", marker=faint, showlegend=False, hoverinfo="skip", row=3, col=1
        )
        figure.add_scatter(
            x=x, y=smooth(y), name="autonomy gap", line={"color": GAP, "width": 2.5}, row=3, col=1
        )


def _add_buckets(figure: go.Figure, fade: Sequence[Mapping[str, Any]]) -> None:
    """Draw share and gap of each bucket of the gated fade, the hardest in the darkest line; nothing for the other kinds."""
    rows = [row for row in fade if row.get("bucket_share")]
    count = len(rows[0]["bucket_share"]) if rows else 0
    for number in range(count):
        line = {"color": f"rgba(13,148,136,{1 - 0.7 * number / count:.2f})", "width": 1.5}
        name = f"bucket {number + 1} of {count}"
        steps = [row["step"] for row in rows]
        shares = [row["bucket_share"][number] for row in rows]
        figure.add_scatter(x=steps, y=shares, name=name, legendgroup=name, line=line, row=1, col=1)
        known = [
            (row["step"], row["bucket_assisted"][number], row["bucket_autonomous"][number])
            for row in rows
        ]
        gaps = [
            (step, 100 * (assisted - alone))
            for step, assisted, alone in known
            if None not in (assisted, alone)
        ]
        if gaps:
            x, y = zip(*gaps, strict=True)
            figure.add_scatter(
                x=x, y=y, name=name, legendgroup=name, showlegend=False, line=line, row=3, col=1
            )


def smooth(values: Sequence[float]) -> list[float]:
    """Return the moving mean of `values` over the last twentieth of them.

    >>> smooth([1.0, 3.0])
    [1.0, 3.0]
    """
    window = max(1, len(values) // 20)
    return [fmean(values[max(0, place - window + 1) : place + 1]) for place in range(len(values))]


def verdict_figure(results: Mapping[str, Any]) -> str:
    """Return verdict accuracy on sound and on flawed routes, per model, on `test`."""
    rows = [row for row in ordered(results, "test") if row["mode"] == "assisted"]
    figure = go.Figure()
    for word, colour in (("sound", SOUND), ("flawed", FLAWED)):
        shares = [row.get(f"verdict_accuracy_{word}") for row in rows]
        figure.add_bar(
            x=[row["method"] for row in rows],
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
    return fragment(figure, "verdicts", height=320)


def length_figure(bank: Sequence[Mapping[str, Any]]) -> str:
    """Return how many words the routes of each source have: half of them in the box, 80% between the whiskers."""
    figure = go.Figure()
    groups = list(dict.fromkeys(row["group"] for row in bank))
    for group, colour in zip(groups, (SHARE, ASSISTED), strict=False):
        rows = [row for row in bank if row["group"] == group][::-1]
        words = {
            point: [row["words"][point] for row in rows]
            for point in ("p10", "p25", "p50", "p75", "p90")
        }
        figure.add_box(
            y=[row["source"] for row in rows],
            lowerfence=words["p10"],
            q1=words["p25"],
            median=words["p50"],
            q3=words["p75"],
            upperfence=words["p90"],
            orientation="h",
            name=f"{group} problems",
            marker_color=colour,
            line_width=1.5,
            showlegend=len(groups) > 1,
        )
    figure.update_layout(boxmode="group")
    figure.update_xaxes(title_text="words of a route", rangemode="tozero")
    return fragment(figure, "lengths", height=110 + 34 * len(bank))


def fragment(figure: go.Figure, name: str, *, height: int) -> str:
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
