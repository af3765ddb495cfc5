"""The charts of a comparison, as HTML fragments that share one inlined copy of plotly.js."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from realm.evaluate.report.figures import fragment
from realm.evaluate.tables import families_of, over_seeds

_COLOURS = (
    "#d97706",
    "#2563eb",
    "#0f766e",
    "#be185d",
    "#7c3aed",
    "#475569",
    "#65a30d",
    "#0891b2",
    "#b45309",
    "#db2777",
    "#94a3b8",
)
"""One for each mode, and one for the routes."""


def accuracy_figure(results: Mapping[str, Any]) -> str:
    """Return accuracy on `test` with its interval over the seeds, by method and mode; small points are the seeds."""
    rows = over_seeds(results, "test")
    methods = sorted(
        {row["method"] for row in rows},
        key=lambda name: max(row["accuracy"] for row in rows if row["method"] == name),
    )
    modes, figure = list(dict.fromkeys(row["mode"] for row in rows)), go.Figure()
    heights = _set_lines(figure, methods, [(row["method"], row["mode"]) for row in rows])
    for mode, colour in zip(modes, _COLOURS[: len(modes)], strict=True):
        here = [row for row in rows if row["mode"] == mode]
        _add_intervals(
            figure, here, [row["method"] for row in here], mode, colour, "accuracy", heights
        )
        each = [
            (100 * value, heights[row["method"], mode]) for row in here for value in row["per_seed"]
        ]
        x, y = zip(*each, strict=True)
        faint = {"color": colour, "size": 4, "opacity": 0.35}
        figure.add_scatter(
            x=x,
            y=y,
            mode="markers",
            marker=faint,
            legendgroup=mode,
            showlegend=False,
            hoverinfo="skip",
        )
    figure.update_xaxes(ticksuffix="%", range=_in_view(rows))
    return fragment(figure, "accuracy", height=_height(methods, heights))


def token_figure(results: Mapping[str, Any]) -> str:
    """Return accuracy on `test` against the tokens generated per problem; a line joins the majorities of 1, 2, ... samples."""
    rows = [row for row in over_seeds(results, "test") if row["tokens_per_problem"]]
    figure = go.Figure()
    for mode, colour in zip(dict.fromkeys(row["mode"] for row in rows), _COLOURS, strict=False):
        here = [row for row in rows if row["mode"] == mode]
        figure.add_scatter(
            x=[row["tokens_per_problem"] for row in here],
            y=[100 * row["accuracy"] for row in here],
            text=[row["method"] for row in here],
            name=mode,
            mode="markers",
            marker={"color": colour, "size": 10},
            hovertemplate="%{text}: %{y:.1f}% at %{x:.0f} tokens<extra></extra>",
        )
    for row in rows:
        if "curve" in row:
            steps = [
                row["tokens_per_problem"] * (n + 1) / len(row["curve"])
                for n in range(len(row["curve"]))
            ]
            line = {"color": "#94a3b8", "width": 1.5, "dash": "dot"}
            values = [100 * value for value in row["curve"]]
            figure.add_scatter(
                x=steps,
                y=values,
                mode="lines",
                line=line,
                name=f"{row['method']}: majority of n",
                showlegend=False,
            )
    figure.update_xaxes(title_text="generated tokens per problem")
    figure.update_yaxes(ticksuffix="%", range=_in_view(rows))
    return fragment(figure, "tokens", height=460)


def ablation_figure(results: Mapping[str, Any]) -> str | None:
    """Return how much ReaLM is ahead of each ablation, in points with intervals; `None` where there are none."""
    families = {
        name: rows for name, rows in families_of(results).items() if name.startswith("ablations")
    }
    if not families:
        return None
    figure, names = (
        go.Figure(),
        list(dict.fromkeys(row["b"] for rows in families.values() for row in rows)),
    )
    heights = _set_lines(
        figure,
        names[::-1],
        [(row["b"], family) for family, rows in families.items() for row in rows],
    )
    for (name, rows), colour in zip(families.items(), _COLOURS, strict=False):
        _add_intervals(
            figure, rows, [row["b"] for row in rows], name, colour, "difference", heights
        )
    figure.add_vline(x=0, line={"color": "#475569", "width": 1})
    figure.update_xaxes(title_text="ReaLM minus ablation, points")
    return fragment(figure, "ablations", height=_height(names, heights))


def _in_view(rows: Sequence[Mapping[str, Any]]) -> list[float]:
    """Return the range of accuracies that a figure opens with: the model before any training may lie far below it."""
    trained = [row for row in rows if row["method"] != "base"] or rows
    return [
        100 * min(row["ci95"][0] for row in trained) - 3,
        100 * max(row["ci95"][1] for row in rows) + 3,
    ]


def _set_lines(
    figure: go.Figure, names: Sequence[str], lines: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], float]:
    """Label the y axis with `names`, the first at the bottom, and return the height of each (name, title): none on another."""
    heights, ticks, height = {}, [], 0.0
    for name in names:
        own = [line for line in lines if line[0] == name][::-1]
        heights |= {line: height + place for place, line in enumerate(own)}
        ticks.append(height + (len(own) - 1) / 2)
        height += len(own) + 1
    figure.update_yaxes(tickvals=ticks, ticktext=list(names), range=[-1, height - 1])
    return heights


def _height(names: Sequence[str], heights: Mapping[tuple[str, str], float]) -> int:
    return 170 + 14 * (len(names) + len(heights))


def _add_intervals(
    figure: go.Figure,
    rows: Sequence[Mapping[str, Any]],
    names: list[str],
    title: str,
    colour: str,
    key: str,
    heights: Mapping[tuple[str, str], float],
) -> None:
    """Draw one point with its interval per row, in points."""
    values = [100 * row[key] for row in rows]
    figure.add_scatter(
        x=values,
        y=[heights[name, title] for name in names],
        text=names,
        name=title,
        legendgroup=title,
        mode="markers",
        marker={"color": colour, "size": 8},
        error_x={
            "type": "data",
            "symmetric": False,
            "array": [
                100 * row["ci95"][1] - value for row, value in zip(rows, values, strict=True)
            ],
            "arrayminus": [
                value - 100 * row["ci95"][0] for row, value in zip(rows, values, strict=True)
            ],
            "color": colour,
            "thickness": 1.5,
            "width": 3,
        },
        hovertemplate="%{text}: %{x:.1f}<extra></extra>",
    )
