"""Draw how stores grow beside the ZIPs: a plain SVG with a logarithmic axis, no library needed."""

from __future__ import annotations

from math import log10

WIDTH, HEIGHT = 720, 420
LEFT, RIGHT, TOP, BOTTOM = 70, 130, 30, 45
COLOURS = {"ZIPs kept": "#888888", "borg": "#4477aa", "restic": "#cc8833", "backupd": "#228833"}


def svg(title: str, series: dict[str, list[float]]) -> str:
    """Return the drawing of lines given as megabytes after each export."""
    values = [value for line in series.values() for value in line]
    low, high = int(log10(min(values))), int(log10(max(values))) + 1
    count = max(map(len, series.values()))

    def at(number: int, value: float) -> str:
        x = LEFT + (WIDTH - LEFT - RIGHT) * number / max(1, count - 1)
        y = TOP + (HEIGHT - TOP - BOTTOM) * (high - log10(value)) / (high - low)
        return f"{x:.1f},{y:.1f}"

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"'
        ' font-family="sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="18">{title}</text>',
    ]
    for decade in range(low, high + 1):
        for step in (1, 2, 5) if decade < high else (1,):
            value = step * 10**decade
            _, y = at(0, value).split(",")
            parts.append(
                f'<path d="M{LEFT} {y}H{WIDTH - RIGHT}" stroke="#dddddd"/>'
                f'<text x="{LEFT - 8}" y="{y}" dy="4" text-anchor="end">{value:g} MB</text>'
            )
    for name, line in series.items():
        colour = COLOURS.get(name, "black")
        points = " ".join(at(number, value) for number, value in enumerate(line))
        x, y = at(len(line) - 1, line[-1]).split(",")
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'
            f'<text x="{x}" y="{y}" dx="8" dy="4" fill="{colour}">{name} {line[-1]:.1f}</text>'
        )
    middle = (LEFT + WIDTH - RIGHT) // 2
    parts.append(f'<text x="{middle}" y="{HEIGHT - 12}" text-anchor="middle">weekly exports</text>')
    return "\n".join((*parts, "</svg>", ""))
