"""Charts as inline SVG: lines over axes, and rows of dots.

What belongs here: geometry and ticks, knowing nothing of a trial; `figures.py` turns a report's figures into calls of
these functions. Colours are CSS variables of the page, so one drawing serves light, dark and print. Drawn by hand
rather than by a plotting library: the bytes then depend on this file alone, and no fonts or caches are needed.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

PALETTE = tuple(f"var(--series-{index})" for index in range(8))
"""Colours of series, defined by the page for light and dark."""

INK, MUTED, GRID, ACCENT, REFERENCE = "var(--ink)", "var(--muted)", "var(--grid)", "var(--accent)", "var(--reference)"


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One series; `low` and `high` bound a band around `y`."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    colour: str = ACCENT
    width: float = 1.8
    dashed: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Axis:
    """A range of values on `length` pixels from `start`; `length` may be negative (upwards)."""

    low: float
    high: float
    start: float
    length: float
    log: bool = False

    def at(self, value: float) -> float:
        """Where a value stands, in pixels; values outside the range stand at its end."""
        low, high, value = (math.log10(v) if self.log else v for v in (self.low, self.high, max(value, self.floor)))
        share = (value - low) / (high - low)
        return self.start + self.length * min(max(share, 0.0), 1.0)

    @property
    def floor(self) -> float:
        """The least value that can be drawn."""
        return self.low if self.log else -math.inf

    def ticks(self, count: int) -> list[float]:
        """About `count` round values inside the range."""
        return log_ticks(self.low, self.high) if self.log else nice_ticks(self.low, self.high, count=count)


def nice_ticks(low: float, high: float, *, count: int) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten inside [low, high], about `count` of them."""
    if not high > low:
        return [low]
    raw = (high - low) / max(count, 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten inside [low, high]; powers of ten alone where the range is wide."""
    factors = (1, 2, 5) if high / low < 200 else (1,)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [v for power in powers for f in factors if low * 0.999 <= (v := round(f * 10.0**power, 12)) <= high * 1.001]


def padded(values: Sequence[float], *, share: float = 0.06) -> tuple[float, float]:
    """A range that holds all finite values with some room; (0, 1) where there are none."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return 0.0, 1.0
    low, high = min(finite), max(finite)
    room = (high - low) * share or abs(high) * share or 0.5
    return low - room, high + room


def number(value: float) -> str:
    """A tick's label: as short as the value allows, thousands with a narrow space, a true minus sign."""
    if value != 0 and abs(value) < 1e-4:
        return f"{value:.0e}".replace("-", "−")
    text = f"{value:,.4f}".rstrip("0").rstrip(".") if abs(value) < 1000 else f"{value:,.0f}"
    return text.replace(",", "\u202f").replace("-", "−")


def signed(value: float, *, digits: int = 4) -> str:
    """A difference with its sign, a true minus, and no sign on what rounds to zero."""
    shown = f"{value:+.{digits}f}"
    return f"{0:.{digits}f}" if float(shown) == 0 else shown.replace("-", "−")


def points(xs: Sequence[float], ys: Sequence[float], *, x: Axis, y: Axis) -> str:
    """The `points` of a polyline, to a tenth of a pixel; values that are not finite are left out."""
    pairs = zip(xs, ys, strict=True)
    return " ".join(f"{x.at(a):.1f},{y.at(b):.1f}" for a, b in pairs if math.isfinite(a) and math.isfinite(b))


def text(x: float, y: float, content: str, *, css: str = "", anchor: str = "start") -> Markup:
    """A piece of text; `css` names classes of the page (`tick`, `label`, `strong`)."""
    return Markup('<text x="{:.1f}" y="{:.1f}" text-anchor="{}" class="{}">{}</text>').format(
        x, y, anchor, css, content
    )


def segment(x1: float, y1: float, x2: float, y2: float, *, colour: str, width: float = 1, dash: str = "") -> Markup:
    """A straight line."""
    return Markup('<line x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}" style="stroke:{};stroke-width:{}{}"/>').format(
        x1, y1, x2, y2, colour, f"{width:g}", f";stroke-dasharray:{dash}" if dash else ""
    )


def svg(parts: Sequence[Markup], *, width: float, height: float, title: str, css: str = "chart") -> Markup:
    """The drawing, scaled to its place, with a title for readers that cannot see it."""
    body = Markup("").join(parts)
    return Markup('<svg class="{}" viewBox="0 0 {:.0f} {:.0f}" role="img" aria-label="{}">{}</svg>').format(
        css, width, height, title, body
    )


def line_chart(
    lines: Sequence[Line],
    *,
    title: str,
    x_label: str,
    y_label: str,
    x_range: tuple[float, float] | None = None,
    y_range: tuple[float, float] | None = None,
    log_y: bool = False,
    diagonal: bool = False,
    dots: "Sequence[Dots]" = (),
    size: tuple[float, float] = (320, 250),
) -> Markup:
    """Lines with optional bands, and dots, over one pair of axes; `diagonal` draws y = x as a reference."""
    width, height = size
    ys = [v for line in lines for v in (*line.y, *line.low, *line.high)] + [v for one in dots for v in one.ys]
    low_x, high_x = x_range or padded([v for line in lines for v in line.x], share=0.0)
    low_y, high_y = y_range or _range(ys, log=log_y)
    x = Axis(low=low_x, high=high_x if high_x > low_x else low_x + 1, start=48, length=width - 60)
    top = 24 if y_label else 10
    y = Axis(low=low_y, high=high_y, start=height - 38, length=-(height - 38 - top), log=log_y)
    parts = [_grid(x=x, y=y, x_label=x_label, y_label=y_label)]
    if diagonal:
        parts.append(segment(x.at(0), y.at(0), x.at(1), y.at(1), colour=GRID, width=1.2, dash="3 3"))
    for line in lines:
        if line.low and line.high:
            outline = f"{points(line.x, line.high, x=x, y=y)} {points(line.x[::-1], line.low[::-1], x=x, y=y)}"
            parts.append(Markup('<polygon points="{}" style="fill:{};opacity:.18"/>').format(outline, line.colour))
        parts.append(
            Markup('<polyline points="{}" style="fill:none;stroke:{};stroke-width:{}{}"/>').format(
                points(line.x, line.y, x=x, y=y),
                line.colour,
                f"{line.width:g}",
                ";stroke-dasharray:4 3" if line.dashed else "",
            )
        )
    parts += [_circles(one, x=x, y=y) for one in dots]
    return svg(parts, width=width, height=height, title=title)


def dot_rows(
    rows: Sequence[tuple[str, float, str]],
    *,
    title: str,
    x_label: str,
    reference: tuple[str, float] | None = None,
    width: float = 640,
) -> Markup:
    """One dot a row on a logarithmic axis: (name, value above 0, colour); `reference` is a line across the rows."""
    values = [value for _, value, _ in rows] + ([reference[1]] if reference else [])
    low, high = _range(values, log=True)
    top = 30 if reference else 12
    height = top + 30 * len(rows) + 44
    x = Axis(low=low, high=high, start=190, length=width - 270, log=True)
    bottom = top + 30 * len(rows)
    parts = []
    for tick in x.ticks(5):
        parts.append(segment(x.at(tick), top, x.at(tick), bottom, colour=GRID))
        parts.append(text(x.at(tick), bottom + 16, number(tick), css="tick", anchor="middle"))
    parts.append(text(x.start + x.length / 2, bottom + 36, x_label, css="label", anchor="middle"))
    if reference:
        at = x.at(reference[1])
        parts.append(segment(at, top - 6, at, bottom, colour=REFERENCE, width=1.5, dash="4 3"))
        parts.append(text(at, top - 12, reference[0], css="tick", anchor="middle"))
    for index, (name, value, colour) in enumerate(rows):
        middle = top + 30 * index + 15
        parts.append(text(176, middle + 4, name, css="row", anchor="end"))
        parts.append(segment(x.start, middle, x.start + x.length, middle, colour=GRID, dash="2 3"))
        parts.append(
            Markup('<circle cx="{:.1f}" cy="{:.1f}" r="5.5" style="fill:{}"/>').format(x.at(value), middle, colour)
        )
        parts.append(text(x.start + x.length + 14, middle + 4, f"{value:.3g}", css="row"))
    return svg(parts, width=width, height=height, title=title, css="chart rows")


@dataclass(frozen=True, kw_only=True, slots=True)
class Dots:
    """Points of one colour."""

    xs: Sequence[float]
    ys: Sequence[float]
    colour: str
    is_hollow: bool = False
    radius: float = 1.8


def scatter(series: Sequence[Dots], *, title: str, size: tuple[float, float] = (320, 320)) -> Markup:
    """Points without axes, at one scale for both: for coordinates that mean nothing by themselves."""
    width, height = size
    every_x = [value for dots in series for value in dots.xs] or [0.0]
    every_y = [value for dots in series for value in dots.ys] or [0.0]
    middle = ((max(every_x) + min(every_x)) / 2, (max(every_y) + min(every_y)) / 2)
    half = max(max(every_x) - min(every_x), max(every_y) - min(every_y), 1e-9) / 2 * 1.04
    x = Axis(low=middle[0] - half, high=middle[0] + half, start=2, length=width - 4)
    y = Axis(low=middle[1] - half, high=middle[1] + half, start=height - 2, length=4 - height)
    parts = [_circles(dots, x=x, y=y) for dots in series]
    return svg(parts, width=width, height=height, title=title)


def _circles(dots: Dots, *, x: Axis, y: Axis) -> Markup:
    look = f'fill="none" stroke="{dots.colour}"' if dots.is_hollow else f'fill="{dots.colour}"'
    circles = "".join(
        f'<circle cx="{x.at(one):.1f}" cy="{y.at(other):.1f}" r="{dots.radius}"/>'
        for one, other in zip(dots.xs, dots.ys, strict=True)
    )
    return Markup(f"<g {look}>{circles}</g>")  # noqa: S704 - numbers and colours of this package


def legend(entries: Sequence[tuple[str, str]]) -> Markup:
    """Names beside their colours: (name, colour)."""
    items = [
        Markup('<span class="key"><i style="background:{}"></i>{}</span>').format(colour, escape(name))
        for name, colour in entries
    ]
    return Markup('<div class="legend">{}</div>').format(Markup("").join(items))


def _range(values: Sequence[float], *, log: bool) -> tuple[float, float]:
    if not log:
        return padded(values)
    positive = [value for value in values if math.isfinite(value) and value > 0]
    if not positive:
        return 0.1, 1.0
    return min(positive) / 1.5, max(positive) * 1.5


def _grid(*, x: Axis, y: Axis, x_label: str, y_label: str) -> Markup:
    """Ticks, grid lines and labels of both axes."""
    right, top = x.start + x.length, y.start + y.length
    parts = []
    for tick in y.ticks(5):
        parts.append(segment(x.start, y.at(tick), right, y.at(tick), colour=GRID))
        parts.append(text(x.start - 7, y.at(tick) + 4, number(tick), css="tick", anchor="end"))
    for tick in x.ticks(5):
        parts.append(segment(x.at(tick), y.start, x.at(tick), y.start + 4, colour=MUTED))
        parts.append(text(x.at(tick), y.start + 17, number(tick), css="tick", anchor="middle"))
    parts.append(segment(x.start, y.start, right, y.start, colour=MUTED))
    parts.append(text(x.start + x.length / 2, y.start + 34, x_label, css="label", anchor="middle"))
    parts.append(text(x.start - 40, top - 14, y_label, css="label"))
    return Markup("").join(parts)
