"""A plot of the ratios: a row for each scenario and server, on a logarithmic axis."""

from html import escape
from math import log10
from typing import Any, Final

LEFT, WIDTH, ROW = 320, 460, 20
COLOURS: Final = ("#2f6fde", "#d9822b", "#2e9e5b", "#8e4ec6", "#c23b5a")


def svg(said: dict[str, Any]) -> str:
    """The plot of a run's figures (the JSON of run.py)."""
    rows = [
        (name, server, each["ratio"])
        for name, one in said["scenarios"].items()
        for server, each in one["summary"].items()
        if each["ratio"]
    ]
    far = max([1.1, *(max(ratio["high"], 1 / ratio["low"]) for _, _, ratio in rows)])
    servers = list(dict.fromkeys(server for _, server, _ in rows))

    def x(ratio: float) -> float:
        return round(LEFT + WIDTH / 2 * (1 + log10(ratio) / log10(far)), 1)

    height = ROW * (len(rows) + 3)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH + 80}" height="{height}" font-family="sans-serif"'
        ' font-size="12" fill="#555">',
        f'<line x1="{x(1)}" x2="{x(1)}" y1="{ROW}" y2="{height - 2 * ROW}" stroke="#999"/>',
        f'<text x="{x(1)}" y="{height - ROW}" text-anchor="middle">1.00: the same CPU for the same work; left: '
        "ModelServer needs less</text>",
        f'<text x="{LEFT + WIDTH + 70}" y="{height - 4}" text-anchor="end" font-size="10">'
        f"{escape(said['machine']['cpu'])}, Python {escape(said['machine']['python'].split()[0])}, "
        f"{escape(said['machine']['when'])}</text>",
    ]
    for n, (name, server, ratio) in enumerate(rows):
        y, colour = ROW * (n + 1) + 10, COLOURS[servers.index(server) % len(COLOURS)]
        parts += [
            f'<text x="{LEFT - 10}" y="{y + 4}" text-anchor="end">{escape(name)} / {escape(server[-24:])}</text>',
            f'<line x1="{x(ratio["low"])}" x2="{x(ratio["high"])}" y1="{y}" y2="{y}" stroke="{colour}" stroke-width="3"/>',
            f'<circle cx="{x(ratio["median"])}" cy="{y}" r="5" fill="{colour}"/>',
            f'<text x="{LEFT + WIDTH + 70}" y="{y + 4}" text-anchor="end">{ratio["median"]:.2f}</text>',
        ]
    return "\n".join([*parts, "</svg>\n"])
