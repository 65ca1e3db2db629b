"""Bar charts as SVG, drawn by hand: one group of bars for each workload, one bar for each place.

The scale is logarithmic: half as long as native is as far from the line of native as twice as long."""
import math

COLOURS = {"sandbox-systrap": "#1a73e8", "sandbox-ptrace": "#8ab4f8", "bwrap": "#34a853",
           "crun": "#fbbc04", "runc": "#f29900", "runsc-systrap": "#d93025",
           "runsc-ptrace": "#f28b82"}
BAR, GAP, LEFT, WIDTH, TOP = 13, 10, 120, 560, 48
TICKS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


def escape(text):
    return text.replace("&", "&amp;").replace("<", "&lt;")


def write(path, title, rows, note):
    """`rows`: {workload: {place: time ÷ native}}; `note` says what was measured on, below the bars."""
    places = [place for place in COLOURS if any(place in row for row in rows.values())]
    values = [row[place] for row in rows.values() for place in places if place in row]
    low, high = min([0.5] + values), max([2.0] + values)

    def x(value):
        return LEFT + WIDTH * math.log(value / low) / math.log(high / low)

    out = []
    at = LEFT
    for place in places:
        out.append(f'<rect x="{at}" y="22" width="10" height="10" fill="{COLOURS[place]}"/>'
                   f'<text x="{at + 14}" y="31">{place}</text>')
        at += 30 + 7 * len(place)
    bars = []
    y = TOP + 6
    for name, row in rows.items():
        shown = [place for place in places if place in row]
        bars.append(f'<text x="{LEFT - 8}" y="{y + BAR * len(shown) / 2 + 3:.0f}" '
                    f'text-anchor="end">{escape(name)}</text>')
        for place in shown:
            left, right = sorted((x(1), x(row[place])))
            bars.append(f'<rect x="{left:.1f}" y="{y}" width="{max(right - left, 1):.1f}" '
                        f'height="{BAR - 2}" fill="{COLOURS[place]}"/>'
                        f'<text x="{right + 4:.1f}" y="{y + BAR - 4}">{row[place]:.2f}</text>')
            y += BAR
        y += GAP
    for tick in TICKS:
        if low <= tick <= high:
            colour, dashes = ("#5f6368", "") if tick == 1 else ("#dadce0", ' stroke-dasharray="3 3"')
            out.append(f'<line x1="{x(tick):.1f}" y1="{TOP}" x2="{x(tick):.1f}" y2="{y}" '
                       f'stroke="{colour}"{dashes}/><text x="{x(tick):.1f}" y="{y + 13}" '
                       f'text-anchor="middle" fill="#5f6368">{"native" if tick == 1 else tick}</text>')
    out += bars
    out.append(f'<text x="{LEFT}" y="{y + 30}" fill="#5f6368" font-size="10">{escape(note)}</text>')
    with open(path, "w") as f:
        f.write(f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH + 50}" height="{y + 38}" '
                'font-family="sans-serif" font-size="11"><rect width="100%" height="100%" '
                f'fill="white"/><text x="{LEFT}" y="14" font-size="13">{escape(title)}, less is '
                f'better</text>{"".join(out)}</svg>\n')
