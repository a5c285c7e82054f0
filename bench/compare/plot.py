"""Plots as SVG, written by hand: bars and lines on logarithmic scales."""

import math
from xml.sax.saxutils import escape

COLOURS = {"chapar": "#1b6ca8", "cyrus": "#e08e0b", "dovecot": "#5a9e4b", "rsync": "#888888"}
LINE_COLOURS = ["#1b6ca8", "#e08e0b", "#5a9e4b", "#b0413e", "#7d5ba6", "#888888", "#2aa198", "#c2571a",
                "#444444", "#d33682", "#859900"]
FONT = 'font-family="sans-serif" font-size="12"'


def show(value):
    if value >= 1000:
        return "{:,.0f}".format(value)
    return "%.3g" % value


def text(x, y, words, anchor="start", extra=""):
    return '<text x="%.1f" y="%.1f" text-anchor="%s" %s>%s</text>\n' % (x, y, anchor, extra, escape(words))


def document(width, height, parts):
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" %s>\n'
        '<rect width="100%%" height="100%%" fill="white"/>\n%s</svg>\n'
        % (width, height, width, height, FONT, "".join(parts)))


def decades(values):
    """(least, greatest) power of ten around the values."""
    low = math.floor(math.log10(min(values)))
    high = math.ceil(math.log10(max(values)))
    return low, max(high, low + 1)


def bars(title, rows, names):
    """`rows` are (label, {server: value above 0})."""
    left, right, bar, gap, top = 150, 70, 13, 12, 62
    width = 760
    low, high = decades([value for _, found in rows for value in found.values()])
    low -= 1  # so that the shortest bar can be seen

    def x_of(value):
        return left + (math.log10(value) - low) / (high - low) * (width - left - right)

    used = [name for name in names if any(name in found for _, found in rows)]
    parts = [text(12, 22, title, extra='font-weight="bold"')]
    for index, name in enumerate(used):
        parts.append('<rect x="%d" y="34" width="12" height="12" fill="%s"/>\n'
                     % (left + 130 * index, COLOURS[name]))
        parts.append(text(left + 130 * index + 18, 44, names[name]))
    y = top
    marks = []
    for label, found in rows:
        row_top = y
        for name in used:
            if name not in found:
                continue
            end = x_of(found[name])
            marks.append('<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/>\n'
                         % (left, y, end - left, bar - 2, COLOURS[name]))
            marks.append(text(end + 4, y + bar - 3, show(found[name]), extra='font-size="10"'))
            y += bar
        marks.append(text(left - 8, (row_top + y) / 2 + 4, label, "end"))
        y += gap
    for power in range(low, high + 1):
        x = x_of(10.0 ** power)
        parts.append('<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="#ddd"/>\n' % (x, top - 4, x, y))
        parts.append(text(x, y + 14, "%g" % 10.0 ** power, "middle", 'fill="#555" font-size="10"'))
    return document(width, y + 26, parts + marks)


def lines(title, sizes, rows, unit):
    """`rows` are (label, [a value above 0 for each size])."""
    left, right, top, bottom, width, height = 60, 210, 44, 50, 760, 460
    low, high = decades([value for _, found in rows for value in found])
    first, last = math.log10(sizes[0]), math.log10(sizes[-1])

    def x_of(size):
        return left + (math.log10(size) - first) / (last - first) * (width - left - right)

    def y_of(value):
        return height - bottom - (math.log10(value) - low) / (high - low) * (height - top - bottom)

    parts = [text(12, 22, title, extra='font-weight="bold"')]
    for power in range(low, high + 1):
        y = y_of(10.0 ** power)
        parts.append('<line x1="%d" y1="%.1f" x2="%d" y2="%.1f" stroke="#ddd"/>\n'
                     % (left, y, width - right, y))
        parts.append(text(left - 6, y + 4, "%g" % 10.0 ** power, "end", 'fill="#555" font-size="10"'))
    for size in sizes:
        parts.append(text(x_of(size), height - bottom + 18, "{:,}".format(size), "middle",
                          'fill="#555" font-size="10"'))
    parts.append(text(left, height - 12, "messages in the mailbox; %s" % unit, extra='fill="#555"'))
    taken = []
    for index, (label, found) in enumerate(sorted(rows, key=lambda row: -row[1][-1])):
        colour = LINE_COLOURS[index % len(LINE_COLOURS)]
        points = " ".join("%.1f,%.1f" % (x_of(size), y_of(value)) for size, value in zip(sizes, found))
        parts.append('<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>\n' % (points, colour))
        y = max([y_of(found[-1]) + 4] + [taken[-1] + 14] if taken else [y_of(found[-1]) + 4])
        taken.append(y)
        parts.append(text(width - right + 8, y, label, extra='fill="%s"' % colour))
    return document(width, height, parts)
