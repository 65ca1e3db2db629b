"""Bar charts as SVG, drawn by hand: one group of bars for each workload, one bar for each place."""
import math

COLOURS = {"native": "#9aa0a6", "sandbox-systrap": "#1a73e8", "sandbox-ptrace": "#8ab4f8",
           "bwrap": "#34a853", "crun": "#fbbc04", "runc": "#f29900", "runsc-systrap": "#d93025",
           "runsc-ptrace": "#f28b82"}
BAR, GAP, LEFT, WIDTH, TOP = 13, 12, 130, 560, 62


def escape(text):
    return text.replace("&", "&amp;").replace("<", "&lt;")


def write(path, title, rows):
    """`rows`: {workload: {place: ratio}}. The scale is logarithmic from the least ratio, or 0.5."""
    places = [place for place in COLOURS if any(place in row for row in rows.values())]
    values = [value for row in rows.values() for value in row.values()]
    low, high = min(0.5, *values), max(2.0, *values)

    def x(value):
        return LEFT + WIDTH * math.log(value / low) / math.log(high / low)

    out = []
    for i, place in enumerate(places):
        at = LEFT + i % 4 * 150, 30 + i // 4 * 16
        out.append(f'<rect x="{at[0]}" y="{at[1] - 9}" width="10" height="10" '
                   f'fill="{COLOURS[place]}"/><text x="{at[0] + 14}" y="{at[1]}">{place}</text>')
    y = TOP + 8
    for name, row in rows.items():
        out.append(f'<text x="{LEFT - 8}" y="{y + BAR * len(row) / 2 + 4:.0f}" '
                   f'text-anchor="end">{escape(name)}</text>')
        for place in places:
            if place not in row:
                continue
            out.append(f'<rect x="{LEFT}" y="{y}" width="{max(x(row[place]) - LEFT, 1):.1f}" '
                       f'height="{BAR - 2}" fill="{COLOURS[place]}"/>'
                       f'<text x="{x(row[place]) + 4:.1f}" y="{y + BAR - 4}">{row[place]:.2f}</text>')
            y += BAR
        y += GAP
    out.append(f'<line x1="{x(1):.1f}" y1="{TOP}" x2="{x(1):.1f}" y2="{y}" stroke="#5f6368" '
               'stroke-dasharray="3 3"/>')
    with open(path, "w") as f:
        f.write(f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH + 60}" height="{y + 8}" '
                'font-family="sans-serif" font-size="11"><rect width="100%" height="100%" '
                f'fill="white"/><text x="{LEFT}" y="14" font-size="13">{escape(title)}, less is '
                f'better</text>{"".join(out)}</svg>\n')
