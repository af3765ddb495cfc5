"""The shapes of the charts, as places in percent: charts.html draws them without a library."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Axis:
    """A range of values with marks at round numbers.

    >>> axis = Axis.around(12.0, 47.0)
    >>> axis.ticks, axis.place(25.0)
    ((10.0, 20.0, 30.0, 40.0, 50.0), 37.5)
    """

    start: float
    end: float
    ticks: tuple[float, ...]

    @classmethod
    def around(cls, low: float, high: float) -> Axis:
        """Return an axis with about five marks, from one below `low` to one above `high`."""
        if high <= low:
            low, high = low - 1, high + 1
        # The next of 1, 2, 5, 10, ... above a fifth of the range.
        rough = (high - low) / 5
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(power * one for one in (1, 2, 5, 10) if power * one >= rough * 0.999)
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        ticks = tuple(round(step * number, 10) for number in range(first, last + 1))
        return cls(start=ticks[0], end=ticks[-1], ticks=ticks)

    def place(self, value: float) -> float:
        """Return where a value lies between the ends, in percent; outside, the nearer end."""
        share = (value - self.start) / (self.end - self.start)
        return round(100 * min(1.0, max(0.0, share)), 2)


PERCENT = Axis(start=0, end=100, ticks=(0, 25, 50, 75, 100))


@dataclass(frozen=True, kw_only=True)
class Interval:
    """One line of an interval chart: a point, its interval, perhaps a box and further points.

    Example: `Interval(name="realm, autonomous", series="autonomous", value=82.0, low=76.1,
    high=87.0)`.
    """

    name: str
    series: str
    value: float
    low: float
    high: float
    box: tuple[float, float] | None = None
    seeds: Sequence[float] = ()

    def describe(self, unit: str) -> str:
        """Return the line in words, which a pointer at rest shows."""
        text = f"{self.name}: {self.value:.1f}{unit}"
        return text + (f" [{self.low:.1f}, {self.high:.1f}]" if self.low < self.high else "")


@dataclass(frozen=True, kw_only=True)
class Intervals:
    """An interval chart. What it shows in one word is `title`, for readers who cannot see it."""

    title: str
    rows: Sequence[Interval]
    axis: Axis
    unit: str = "%"
    has_zero: bool = False
    """Whether 0 is drawn as a line: then the values are differences."""

    @property
    def series(self) -> list[str]:
        """The names of the legend."""
        return list(dict.fromkeys(row.series for row in self.rows))


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A line, or points if `is_line` is false, of one series.

    Example: `Curve(series="autonomy gap", points=[(1, 3.5), (2, 3.0)])`.
    """

    series: str
    points: Sequence[tuple[float, float]]
    is_line: bool = True
    label: str = ""
    """What a pointer at rest shows; empty: the series."""


@dataclass(frozen=True, kw_only=True)
class Plot:
    """Curves over two axes."""

    title: str
    curves: Sequence[Curve]
    x: Axis
    y: Axis
    x_title: str = ""
    unit: str = ""
    size: str = "small"
    """The height: small or large."""
    faint: Sequence[Curve] = field(default=())
    """What the lines smooth."""

    @property
    def series(self) -> list[str]:
        """The names of the legend."""
        return list(dict.fromkeys(curve.series for curve in self.curves))

    def path(self, curve: Curve) -> str:
        """Return a curve as the path of an SVG whose sides are 100 long."""
        points = [f"{self.x.place(x)} {round(100 - self.y.place(y), 2)}" for x, y in curve.points]
        if curve.is_line:
            return "M" + "L".join(points) if points else ""
        # Lines of no length, which round caps make dots.
        return "".join(f"M{point}h0" for point in points)


def make_plot(
    title: str,
    curves: Sequence[Curve],
    *,
    x_title: str = "",
    unit: str = "",
    size: str = "small",
    faint: Sequence[Curve] = (),
) -> Plot:
    """Return a plot whose axes hold all points."""
    points = [point for curve in (*curves, *faint) for point in curve.points]
    xs, ys = [x for x, _ in points], [y for _, y in points]
    # Shares and rewards read best from 0 on.
    low = min(0.0, *ys) if min(ys) < 0.5 * max(ys) else min(ys)
    return Plot(
        title=title,
        curves=curves,
        x=Axis(
            start=min(xs), end=max(max(xs), min(xs) + 1), ticks=Axis.around(min(xs), max(xs)).ticks
        ),
        y=Axis.around(low, max(ys)),
        x_title=x_title,
        unit=unit,
        size=size,
        faint=faint,
    )


def name_colour(series: str) -> str:
    """Return the class of style.css that gives a series its colour: a mode has one everywhere.

    >>> name_colour("assisted reward"), name_colour("bucket 2 of 3")
    ('c-assisted', 'c-bucket-2')
    """
    words = series.split()
    if words[0] == "bucket":
        return f"c-bucket-{(int(words[1]) - 1) % 4 + 1}"
    if words[-1] == "reward":
        return f"c-{words[0]}"
    return "c-" + "-".join(words)
