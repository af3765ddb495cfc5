"""Draw the figures of the documentation, each as NAME-light.svg and NAME-dark.svg.

    python docs/figures/draw.py

`make docs` runs this; a test checks that the files are current.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path

from realm.method.fade import Fade, guidance_share

FOLDER = Path(__file__).parent

LIGHT = {
    "ink": "#1e293b", "muted": "#64748b", "line": "#94a3b8", "panel": "#f8fafc",
    "border": "#cbd5e1", "blue": "#2563eb", "green": "#15803d", "red": "#b91c1c",
    "amber": "#b45309", "blue tint": "#dbeafe", "green tint": "#dcfce7", "red tint": "#fee2e2",
    "amber tint": "#fef3c7",
}  # fmt: skip
DARK = {
    "ink": "#e2e8f0", "muted": "#94a3b8", "line": "#64748b", "panel": "#1e293b",
    "border": "#475569", "blue": "#60a5fa", "green": "#4ade80", "red": "#f87171",
    "amber": "#fbbf24", "blue tint": "#1e3a5f", "green tint": "#14382a", "red tint": "#4a1d1f",
    "amber tint": "#453410",
}  # fmt: skip


class Drawing:
    """Collects the elements of one SVG. Lengths are in pixels; y grows downwards."""

    def __init__(self, width: int, height: int, title: str, colors: dict[str, str]) -> None:
        self.colors = colors
        font = "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif"
        self.parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'width="{width}" height="{height}" role="img" font-family="{font}">',
            f"<title>{escape(title)}</title>",
            '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
            f'markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z" fill="{colors["line"]}"/>'
            "</marker></defs>",
        ]

    def text(
        self, x: float, y: float, text: str, color: str = "ink", size: int = 13, **more: str
    ) -> None:
        """Write one line of text; `more` holds attributes such as `weight` and `anchor`."""
        anchor, weight = more.get("anchor", "start"), more.get("weight", "400")
        self.parts.append(
            f'<text x="{x:g}" y="{y:g}" fill="{self.colors[color]}" font-size="{size}" '
            f'text-anchor="{anchor}" font-weight="{weight}">{escape(text)}</text>'
        )

    def lines(self, x: float, y: float, texts: Sequence[str], color: str = "muted") -> None:
        """Write small lines of text below each other."""
        for number, line in enumerate(texts):
            self.text(x, y + 17 * number, line, color, 12)

    def box(self, x: float, y: float, width: float, height: float, color: str = "") -> None:
        """Draw a rounded box; a color fills it with its tint and draws its border."""
        fill = self.colors[f"{color} tint" if color else "panel"]
        stroke = self.colors[color or "border"]
        self.parts.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="8" '
            f'fill="{fill}" stroke="{stroke}" stroke-width="1.2"/>'
        )

    def arrow(self, x1: float, y1: float, x2: float, y2: float) -> None:
        """Draw a straight arrow."""
        self.parts.append(
            f'<path d="M{x1:g} {y1:g}L{x2:g} {y2:g}" stroke="{self.colors["line"]}" '
            'stroke-width="1.6" fill="none" marker-end="url(#tip)"/>'
        )

    def curve(self, points: Sequence[tuple[float, float]], color: str, dash: str = "") -> None:
        """Draw a line through points."""
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        dashes = f' stroke-dasharray="{dash}"' if dash else ""
        self.parts.append(
            f'<path d="M{path}" stroke="{self.colors[color]}" stroke-width="2" fill="none"'
            f"{dashes}/>"
        )

    def render(self) -> str:
        """Return the SVG."""
        return "\n".join([*self.parts, "</svg>", ""])


def draw_pipeline(colors: dict[str, str]) -> str:
    """Return the picture of the README: from data and rules to a model that answers alone."""
    title = "From problems, rules and other models' answers to a small model that answers alone"
    drawing = Drawing(920, 330, title, colors)
    drawing.text(20, 26, "What you have", "muted", weight="600")
    inputs = [
        ("Problems", "questions with gold answers"),
        ("Rule book", "seen by the teacher only"),
        ("Routes", "answers by other models"),
    ]
    for row, (name, text) in enumerate(inputs):
        top = 42 + 92 * row
        drawing.box(20, top, 190, 68)
        drawing.text(36, top + 28, name, weight="600", size=15)
        drawing.text(36, top + 49, text, "muted", 12)
    steps = [
        ("blue", "1  Guided distillation", "A teacher reads the rules and writes",
         "chains. The student learns the right", "ones without seeing the rules."),
        ("amber", "2  Verify routes (MRPV)", "Prompts show right and wrong routes. The",
         "student judges each one, then answers.", "Rewards are verified."),
        ("green", "3  Fade the routes (EAAI)", "Fewer and fewer routes are shown,",
         "until the student answers alone.", ""),
    ]  # fmt: skip
    drawing.text(270, 26, "What ReaLM does", "muted", weight="600")
    for row, (color, name, *texts) in enumerate(steps):
        top = 42 + 92 * row
        drawing.box(270, top, 350, 82, color)
        drawing.text(286, top + 24, name, color, 15, weight="600")
        drawing.lines(286, top + 42, [text for text in texts if text], "ink")
        _draw_step_icon(drawing, row, 564, top)
    drawing.arrow(212, 76, 266, 76)
    drawing.arrow(212, 166, 266, 96)
    drawing.arrow(212, 256, 266, 176)
    drawing.arrow(212, 262, 266, 262)
    drawing.arrow(430, 124, 430, 133)
    drawing.arrow(430, 216, 430, 225)
    drawing.text(684, 26, "What you get", "muted", weight="600")
    drawing.box(684, 42, 216, 266)
    drawing.text(702, 72, "Your own small model", weight="600", size=15)
    drawing.lines(
        702, 96, ["0.5-8B parameters,", "no rules in its prompt,", "no other model beside it."]
    )
    drawing.box(702, 150, 180, 30, "blue")
    drawing.text(792, 170, "question", "blue", anchor="middle")
    drawing.arrow(792, 182, 792, 198)
    drawing.box(702, 202, 180, 30, "green")
    drawing.text(792, 222, "reasoning, answer", "green", anchor="middle")
    drawing.lines(702, 260, ["and a report: paired tests,", "intervals, every transcript."])
    drawing.arrow(622, 262, 680, 176)
    return drawing.render()


def _draw_step_icon(drawing: Drawing, row: int, x: float, top: float) -> None:
    """Draw what happens to the number of routes in a step: none, all, fewer and fewer."""
    heights = {0: [], 1: [26, 26, 26, 26], 2: [26, 18, 10, 3]}[row]
    for number, height in enumerate(heights):
        left = x + 10 * number
        y = top + 12 + 26 - height
        color = drawing.colors["amber" if row == 1 else "green"]
        drawing.parts.append(
            f'<rect x="{left:g}" y="{y:g}" width="7" height="{height}" rx="1.5" fill="{color}"/>'
        )


def draw_route(colors: dict[str, str]) -> str:
    """Return a problem with a sound route, and one with a step that does not hold."""
    drawing = Drawing(720, 250, "One problem, and two routes by other models", colors)
    drawing.box(20, 16, 680, 44, "blue")
    question = (
        "A member returns a used tent after 33 days, with the receipt. What does the desk decide?"
    )
    drawing.text(36, 43, question, "ink", 14)
    left = ["Members have 60 days; 33 is in time.", "The tent is used: credit, no refund."]
    right = ["The time limit is 30 days;", "33 is too late.", "What is late is refused."]
    columns = [
        (20, "green", "Route 1, by model A", left, "credit", "reaches the gold answer: positive"),
        (370, "red", "Route 2, by model B", right, "refuse", "does not: negative"),
    ]
    for x, color, name, steps, answer, label in columns:
        drawing.box(x, 84, 330, 124)
        drawing.text(x + 16, 108, name, weight="600")
        drawing.lines(x + 16, 130, [f"[{n}] {step}" for n, step in enumerate(steps, 1)], "ink")
        drawing.text(x + 16, 194, "Answer: ", "muted")
        drawing.text(x + 70, 194, answer, color, weight="600")
        drawing.text(x + 165, 232, label, color, 12, anchor="middle")
        drawing.arrow(x + 165, 62, x + 165, 80)
    return drawing.render()


def draw_verdict(colors: dict[str, str]) -> str:
    """Return an assisted prompt, a completion, and what each part of it earns."""
    drawing = Drawing(720, 300, "An assisted prompt, its completion and the reward terms", colors)
    drawing.text(20, 24, "Assisted prompt", "muted", weight="600")
    for row, (text, color) in enumerate([("question", "blue"), ("route 1", ""), ("route 2", "")]):
        drawing.box(20, 38 + 46 * row, 150, 36, color)
        drawing.text(95, 61 + 46 * row, text, color or "ink", anchor="middle")
    drawing.arrow(174, 100, 222, 100)
    drawing.text(228, 24, "Completion of the student", "muted", weight="600")
    drawing.box(228, 38, 300, 236)
    verdicts = [
        ("Route 1: every step holds: sound", "green"),
        ("Route 2: [1] should be 60 days:", "red"),
        ("flawed", "red"),
    ]
    drawing.text(244, 62, "<verify>", "muted", 12)
    for row, (text, color) in enumerate(verdicts):
        drawing.text(256, 82 + 18 * row, text, color, 13)
    drawing.text(244, 138, "</verify>", "muted", 12)
    drawing.text(244, 164, "<reason>", "muted", 12)
    drawing.text(256, 184, "A member has 60 days ...", "ink", 13)
    drawing.text(244, 204, "</reason>", "muted", 12)
    drawing.text(244, 230, "<answer>", "muted", 12)
    drawing.text(304, 230, "credit", "green", 13, weight="600")
    drawing.text(350, 230, "</answer>", "muted", 12)
    drawing.text(560, 24, "Reward terms", "muted", weight="600")
    terms = [(60, "verdict", "amber"), (112, "first_flaw", "amber"), (204, "answer", "green"),
             (252, "format", "blue")]  # fmt: skip
    for y, name, color in terms:
        drawing.box(560, y - 18, 140, 34, color)
        drawing.text(630, y + 4, name, color, anchor="middle", weight="600")
        drawing.arrow(530, y, 556, y)
    return drawing.render()


def draw_fade(colors: dict[str, str]) -> str:
    """Return the share of guidance over training for the kinds of fade, from the real formula."""
    drawing = Drawing(720, 290, "Share of guidance left over training, by kind of fade", colors)
    left, right, top, bottom = 70, 560, 24, 230

    def place(progress: float, share: float) -> tuple[float, float]:
        return left + (right - left) * progress, bottom - (bottom - top) * share

    for share in (0.0, 0.5, 1.0):
        x, y = place(0, share)
        drawing.curve([(x, y), (right, y)], "border")
        drawing.text(x - 10, y + 4, f"{share:.0%}", "muted", 12, anchor="end")
    for progress in (0.0, 0.5, 1.0):
        x, _ = place(progress, 0)
        drawing.text(x, bottom + 20, f"{progress:.0%}", "muted", 12, anchor="middle")
    drawing.text(
        (left + right) / 2, bottom + 44, "training steps done", "muted", 12, anchor="middle"
    )
    kinds = [("linear", "blue", ""), ("cosine", "green", "7 4"), ("exponential", "red", "2 4"),
             ("step", "amber", "")]  # fmt: skip
    for row, (kind, color, dash) in enumerate(kinds):
        fade = Fade(kind=kind, start=0.1, end=0.8)
        shares = [(n / 400, guidance_share(n / 400, fade)) for n in range(401)]
        drawing.curve([place(*point) for point in shares], color, dash)
        drawing.curve([(585, 44 + 26 * row), (615, 44 + 26 * row)], color, dash)
        drawing.text(624, 48 + 26 * row, kind, color, 13)
    x, _ = place(0.8, 0)
    drawing.curve([(x, top), (x, bottom)], "line", "3 3")
    drawing.text(x + 6, top + 12, "end: no route", "muted", 12)
    return drawing.render()


def draw_probe(colors: dict[str, str]) -> str:
    """Return the five kinds of route that the probe shows, and what a reader says of each."""
    drawing = Drawing(780, 288, "The probe: five kinds of route, two kinds of model", colors)
    heads = [(40, "Route shown"), (190, "Its steps"), (340, "Its answer"),
             (460, "A reader says"), (600, "A matcher says")]  # fmt: skip
    for x, head in heads:
        drawing.text(x, 30, head, "muted", 12, weight="600")
    rows = [
        ("sound route", "hold", "right", "sound", "sound"),
        ("wrong route", "do not hold", "wrong", "flawed", "flawed"),
        ("wrong answer", "last is wrong", "wrong", "flawed", "flawed"),
        ("wrong step", "one is changed", "right", "flawed", "sound"),
        ("foreign steps", "of another problem", "right", "flawed", "sound"),
    ]
    for row, (kind, steps, answer, reader, matcher) in enumerate(rows):
        y = 46 + 44 * row
        drawing.box(20, y, 740, 38)
        drawing.text(40, y + 24, kind, weight="600")
        drawing.text(190, y + 24, steps, "muted", 12)
        drawing.text(340, y + 24, answer, "green" if answer == "right" else "red")
        drawing.text(460, y + 24, reader, "green" if reader == "sound" else "red")
        wrongly = matcher != reader
        color = "green" if matcher == "sound" else "red"
        drawing.text(600, y + 24, matcher + (" (deceived)" if wrongly else ""), color)
    drawing.text(20, 282, "A reader checks the steps; a matcher compares answers.", "muted", 12)
    return drawing.render()


FIGURES: dict[str, Callable[[dict[str, str]], str]] = {
    "pipeline": draw_pipeline,
    "route": draw_route,
    "verdict": draw_verdict,
    "fade": draw_fade,
    "probe": draw_probe,
}


def draw_all() -> dict[str, str]:
    """Return the text of each file, by its name."""
    schemes = {"light": LIGHT, "dark": DARK}
    return {
        f"{name}-{scheme}.svg": draw(colors)
        for name, draw in FIGURES.items()
        for scheme, colors in schemes.items()
    }


if __name__ == "__main__":
    for name, text in draw_all().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
