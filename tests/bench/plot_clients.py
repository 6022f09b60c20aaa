#!/usr/bin/env python3
"""Draws throughput and latency of whole sessions against the number of clients: figures.jsonl of backup-bench in, SVG
out."""

import json
import re
import sys

WIDTH, HEIGHT, MARGIN, GAP = 420, 260, 56, 40
COLORS = {"sessions": "#1f77b4", "one request, p50": "#2ca02c", "one request, p99": "#d62728"}


def series(path):
    """{figure: [(clients, value), ...]} of the session loads."""
    found = {}
    with open(path) as lines:
        for figure in map(json.loads, lines):
            group = re.fullmatch(r"whole sessions .*, (\d+) clients", figure["group"])
            if group and figure["name"] in COLORS:
                found.setdefault(figure["name"], []).append((int(group[1]), figure["value"]))
    return found


def panel(left, title, unit, lines):
    """One diagram: clients from left to right, each step as wide as the next; values from 0."""
    clients = [x for x, _ in next(iter(lines.values()))]
    top = 1.1 * max(value for points in lines.values() for _, value in points)
    x_of = {x: left + MARGIN + i * (WIDTH - 2 * MARGIN) / max(1, len(clients) - 1) for i, x in enumerate(clients)}

    def y_of(value):
        return HEIGHT - MARGIN - value / top * (HEIGHT - 2 * MARGIN)

    yield f'<text x="{left + MARGIN}" y="24" font-weight="bold">{title}</text>'
    for step in range(5):
        value = top * step / 4
        yield (f'<line x1="{left + MARGIN}" x2="{left + WIDTH - MARGIN}" y1="{y_of(value):.1f}" y2="{y_of(value):.1f}" '
               f'stroke="#ddd"/><text x="{left + MARGIN - 6}" y="{y_of(value) + 4:.1f}" text-anchor="end">{value:.0f}</text>')
    for x in clients:
        yield f'<text x="{x_of[x]:.1f}" y="{HEIGHT - MARGIN + 18}" text-anchor="middle">{x}</text>'
    yield f'<text x="{left + WIDTH / 2}" y="{HEIGHT - 12}" text-anchor="middle">clients</text>'
    for i, (name, points) in enumerate(lines.items()):
        path = " ".join(f"{x_of[x]:.1f},{y_of(value):.1f}" for x, value in points)
        yield f'<polyline points="{path}" fill="none" stroke="{COLORS[name]}" stroke-width="2"/>'
        yield (f'<text x="{left + WIDTH - MARGIN}" y="{24 + 16 * i}" text-anchor="end" fill="{COLORS[name]}">'
               f"{name}, {unit}</text>")


def main():
    lines = series(sys.argv[1])
    print(f'<svg xmlns="http://www.w3.org/2000/svg" width="{2 * WIDTH + GAP}" height="{HEIGHT}" '
          'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="white"/>')
    if lines:
        latencies = {name: points for name, points in lines.items() if name != "sessions"}
        for part in (*panel(0, "Throughput", "/s", {"sessions": lines["sessions"]}),
                     *panel(WIDTH + GAP, "Latency", "ms", latencies)):
            print(part)
    print("</svg>")


if __name__ == "__main__":
    main()
