"""The charts of the page, as HTML fragments that share one inlined copy of plotly.js."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

import plotly.express as px
import plotly.graph_objects as go
import pyarrow as pa

from realm.evaluate.report.tables import sort_evaluations
from realm.evaluate.report.words import PROBE_WORDS, label

if TYPE_CHECKING:
    from realm.evaluate.results import Results

BLUE, ORANGE, GREY, SLATE = "#2563eb", "#d97706", "#94a3b8", "#475569"
COLOURS = {
    "assisted": BLUE, "autonomous": ORANGE, "routes": GREY, "sampled": "#b45309",  # modes
    "assisted reward": BLUE, "autonomous reward": ORANGE, "autonomy gap": "#7c3aed",  # training
    "share of guidance": SLATE, "routes shown (mean)": BLUE,
    "sound routes": "#0f766e", "flawed routes": "#be185d",  # verdicts
    "base": GREY, "distilled": ORANGE, "realm": BLUE,  # models
}  # fmt: skip
COLOURING = {
    "color": "series",
    "color_discrete_map": COLOURS,
    # For the series that COLOURS does not name: other modes, the buckets of the gated fade.
    "color_discrete_sequence": ["#0f766e", "#be185d", "#65a30d", "#0891b2", "#7c3aed", "#db2777"],
}


def draw_accuracies(results: Results) -> str:
    """Return accuracy on `test` with its interval, by method and mode; small points are the seeds.

    Without a model the routes are all there is: then by source and way to use them.
    """
    rows = [row for row in results.list_rows("test") if row.source is None]
    if not rows:
        points = [
            _make_point(f"{row.source}: {row.method}", row.method, row.accuracy, row.ci95)
            for row in results.evaluations
        ]
        return _draw_intervals(points, "accuracy", [0, 101])  # 101: a point at 100% is whole
    points = []
    for row in sort_evaluations(rows):
        name = label(row) if row.mode in ("routes", "sampled") else f"{row.method}, {row.mode}"
        points.append(_make_point(name, row.mode, row.accuracy, row.ci95, row.per_seed))
    return _draw_intervals(points, "accuracy", _choose_view(results))


def draw_probes(results: Results) -> str:
    """Return how often each kind of route is called sound, by kind and model."""
    points = [
        _make_point(
            f"{word}, {row.method}",
            row.method,
            row.figures["called_sound"],
            row.figures["called_sound_ci95"],
        )
        for kind, word in PROBE_WORDS.items()
        for row in sort_evaluations([row for row in results.probes if row.source == kind])
    ]
    return _draw_intervals(points, "probe", [-1, 101])  # points at 0 and 100% are whole


def draw_ablations(results: Results) -> str | None:
    """Return how far ReaLM is ahead of each ablation; `None` if there are none."""
    points = [
        _make_point(
            f"{row.b}, {row.family.partition(', ')[2]}", row.family, row.difference, row.ci95
        )
        for row in results.comparisons
        if row.family.startswith("ablations")
    ]
    return _draw_intervals(points, "ablations") if points else None


def _choose_view(results: Results) -> list[float]:
    """Return the range of accuracies shown at first.

    A comparison leaves out the model before any training, which may lie far below all others.
    """
    if not results.methods:
        return [0, 101]
    rows = results.list_rows("test")
    trained = [row for row in rows if row.method != "base"] or rows
    lowest, highest = min(row.ci95[0] for row in trained), max(row.ci95[1] for row in rows)
    return [100 * lowest - 3, 100 * highest + 3]  # three points of air on either side


def _make_point(
    name: str, series: str, value: float, ci95: Sequence[float], per_seed: Sequence[float] = ()
) -> dict[str, Any]:
    """Return one line of an interval chart, in points."""
    return {
        "name": name,
        "series": series,
        "value": 100 * value,
        "plus": 100 * (ci95[1] - value),
        "minus": 100 * (value - ci95[0]),
        "seeds": [100 * one for one in per_seed],
    }


def _draw_intervals(
    points: Sequence[Mapping[str, Any]], name: str, view: Sequence[float] | None = None
) -> str:
    """Return a chart of one line for each point: the value, its interval and those of the seeds."""
    columns = ("name", "series", "value", "plus", "minus")
    table = pa.Table.from_pylist([{key: point[key] for key in columns} for point in points])
    axes = {"x": "value", "y": "name", "error_x": "plus", "error_x_minus": "minus"}
    figure = px.scatter(table, **axes, **COLOURING)
    figure.update_traces(marker_size=9, error_x={"thickness": 1.5, "width": 3})
    for point in points:
        if len(point["seeds"]) > 1:  # with one seed the point itself is that of the seed
            figure.add_scatter(
                x=point["seeds"],
                y=[point["name"]] * len(point["seeds"]),
                mode="markers",
                marker={"color": SLATE, "size": 4, "opacity": 0.35},
                showlegend=False,
                hoverinfo="skip",
            )
    # Reversed: plotly puts the first name at the bottom.
    names = list(dict.fromkeys(point["name"] for point in points))[::-1]
    # dtick: else plotly leaves out names where they stand close.
    figure.update_yaxes(categoryorder="array", categoryarray=names, title_text="", dtick=1)
    if view:
        figure.update_xaxes(ticksuffix="%", range=view, title_text="")
    else:
        figure.add_vline(x=0, line={"color": SLATE, "width": 1})
        figure.update_xaxes(title_text="ReaLM minus ablation, points")
    return _render(figure, name, height=120 + 22 * len(names))


def draw_tokens(results: Results) -> str:
    """Return accuracy on `test` against the tokens generated per problem.

    A dotted line joins the majorities of 1, 2, ... samples.
    """
    rows = [row for row in results.list_rows("test") if row.tokens_per_problem]
    points = [
        {"x": row.tokens_per_problem, "y": 100 * row.accuracy, "series": row.mode, "on": row.method}
        for row in rows
    ]
    axes = {"x": "x", "y": "y", "hover_name": "on"}
    figure = px.scatter(pa.Table.from_pylist(points), **axes, **COLOURING)
    figure.update_traces(marker_size=10)
    for row in rows:
        curve = row.figures.get("curve", [])
        tokens = row.tokens_per_problem or 0
        figure.add_scatter(
            x=[tokens * number / len(curve) for number in range(1, len(curve) + 1)],
            y=[100 * value for value in curve],
            mode="lines",
            line={"color": GREY, "width": 1.5, "dash": "dot"},
            name=f"{row.method}: majority of n",
            showlegend=False,
        )
    figure.update_xaxes(title_text="generated tokens per problem")
    figure.update_yaxes(ticksuffix="%", range=_choose_view(results), title_text="")
    return _render(figure, "tokens", height=460)


def draw_fade(fade: Sequence[Mapping[str, Any]]) -> str:
    """Return how guidance fades over training, the reward with and without routes, and the gap.

    Lines are moving means of the faint points. Under the gated fade guidance and gap are also those
    of each bucket of problems.
    """
    rows = [row for row in _list_fade_points(fade) if row["value"] is not None]
    smoothed = []
    for name in dict.fromkeys((row["panel"], row["series"]) for row in rows):
        own = [row for row in rows if (row["panel"], row["series"]) == name]
        values = smooth([row["value"] for row in own])
        smoothed += [{**row, "value": one} for row, one in zip(own, values, strict=True)]
    panels = list(dict.fromkeys(row["panel"] for row in rows))
    axes = {"x": "step", "y": "value", "facet_row": "panel", "category_orders": {"panel": panels}}
    figure = px.line(pa.Table.from_pylist(smoothed), **axes, **COLOURING)
    faint = px.scatter(pa.Table.from_pylist(rows), **axes, **COLOURING, opacity=0.25)
    faint.update_traces(showlegend=False, marker_size=4, hoverinfo="skip")
    figure.add_traces(faint.data)
    # Plotly titles a panel "panel=reward".
    figure.for_each_annotation(lambda one: one.update(text=one.text.partition("=")[2]))
    figure.update_yaxes(matches=None, title_text="")  # every panel has a unit of its own
    return _render(figure, "fade", height=160 * len(panels) + 80)


def _list_fade_points(fade: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield every value of fade.jsonl that is drawn, with its panel and the name of its line."""

    def make(row: Mapping[str, Any], panel: str, series: str, value: Any) -> dict[str, Any]:
        return {"step": row["step"], "panel": panel, "series": series, "value": value}

    def subtract(assisted: float | None, autonomous: float | None) -> float | None:
        if assisted is None or autonomous is None:
            return None
        return 100 * (assisted - autonomous)

    for row in fade:
        yield make(row, "guidance", "share of guidance", row["share"])
        for bucket, share in enumerate(row.get("bucket_share") or [], 1):
            yield make(row, "guidance", f"bucket {bucket} of {len(row['bucket_share'])}", share)
    for row in fade:
        yield make(row, "routes", "routes shown (mean)", row["routes_shown"])
        for mode in ("assisted", "autonomous"):
            yield make(row, "reward", f"{mode} reward", row.get(f"{mode}_reward"))
    for row in fade:
        gap = subtract(row.get("assisted_answer"), row.get("autonomous_answer"))
        yield make(row, "gap, points", "autonomy gap", gap)
        count = len(row.get("bucket_share") or [])
        for bucket in range(count):
            gap = subtract(row["bucket_assisted"][bucket], row["bucket_autonomous"][bucket])
            yield make(row, "gap, points", f"bucket {bucket + 1} of {count}", gap)


def smooth(values: Sequence[float]) -> list[float]:
    """Return the moving mean of `values` over the last twentieth of them.

    >>> smooth([1.0, 3.0])
    [1.0, 3.0]
    """
    window = max(1, len(values) // 20)
    return [fmean(values[max(0, place - window + 1) : place + 1]) for place in range(len(values))]


def draw_verdicts(results: Results) -> str:
    """Return verdict accuracy on sound and on flawed routes, per method, on `test`."""
    rows = []
    for word in ("sound", "flawed"):
        for row in results.list_rows("test"):
            share = row.figures.get(f"verdict_accuracy_{word}")
            if share is not None:
                name = row.method if row.mode == "assisted" else f"{row.method}, {row.mode}"
                rows.append({"method": name, "series": f"{word} routes", "share": 100 * share})
    table = pa.Table.from_pylist(rows)
    figure = px.bar(table, x="method", y="share", barmode="group", text_auto=".0f", **COLOURING)
    figure.update_traces(textposition="outside", cliponaxis=False)
    figure.update_layout(bargap=0.45, bargroupgap=0.08)
    figure.update_xaxes(title_text="")
    # Up to 108, for the number above a bar of 100%.
    figure.update_yaxes(range=[0, 108], ticksuffix="%", title_text="")
    return _render(figure, "verdicts", height=320)


def draw_lengths(bank: Sequence[Mapping[str, Any]]) -> str:
    """Return the length of each source's routes: half in the box, 80% between the whiskers."""
    figure = go.Figure()
    groups = list(dict.fromkeys(row["group"] for row in bank))
    places = {"lowerfence": "p10", "q1": "p25", "median": "p50", "q3": "p75", "upperfence": "p90"}
    # Two groups if there are held-out sources, else one.
    for group, colour in zip(groups, (SLATE, BLUE), strict=False):
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
    figure.update_layout(boxmode="group")  # side by side: a source may write for both groups
    figure.update_xaxes(title_text="words of a route", rangemode="tozero")
    return _render(figure, "lengths", height=110 + 34 * len(bank))


def _render(figure: go.Figure, name: str, *, height: int) -> str:
    figure.update_layout(
        template="plotly_white",
        height=height,
        margin={"l": 10, "r": 20, "t": 40, "b": 40},
        font={"family": "system-ui, sans-serif", "size": 13, "color": "#334155"},
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0, "title_text": ""},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
    )
    figure.update_yaxes(automargin=True)
    return figure.to_html(
        full_html=False,
        include_plotlyjs=False,  # the page holds one copy for all charts
        div_id=name,
        config={"displayModeBar": False, "responsive": True},
    )
