"""Rate-distortion curves: PSNR above a curve at equal bytes, Bjøntegaard rates, and a plot."""
import bisect
import html
import math


def curve(points):
    """Sorted by bytes, with what costs more and gives less than another left out. points: (bytes, dB)."""
    kept = []
    for size, quality in sorted(set(points)):
        if kept and size == kept[-1][0]:
            kept.pop()  # the same stream, measured twice
        if not kept or quality > kept[-1][1]:
            kept.append((size, quality))
    return kept


def at_bytes(line, size, smooth=False):
    """dB of a curve at so many bytes, over the logarithm of bytes: straight lines between points, as the encoder
    and the prototype do it, or a monotone cubic. Codecs' curves are bent downwards: straight lines between points a
    few crf apart lie below them and flatter what is compared with them. Straight on beyond the ends."""
    return follow([math.log(s) for s, _ in line], [q for _, q in line], math.log(size), smooth)


def at_quality(line, quality):
    """Bytes of a curve at so many dB: a monotone cubic."""
    return math.exp(follow([q for _, q in line], [math.log(s) for s, _ in line], quality, smooth=True))


def follow(xs, ys, x, smooth):
    i = min(max(bisect.bisect(xs, x), 1), len(xs) - 1)
    if not smooth:
        return ys[i - 1] + (x - xs[i - 1]) / (xs[i] - xs[i - 1]) * (ys[i] - ys[i - 1])
    tangents = slopes(xs, ys)
    if xs[0] <= x <= xs[-1]:
        return cubic(xs, ys, x, tangents)
    end = 0 if x < xs[0] else -1
    return ys[end] + tangents[end] * (x - xs[end])


def slopes(xs, ys):
    """Fritsch and Carlson's (SIAM J. Numer. Anal. 17(2), 1980) as in PCHIP: the cubic pieces stay monotone."""
    widths = [b - a for a, b in zip(xs, xs[1:])]
    rises = [(b - a) / w for a, b, w in zip(ys, ys[1:], widths)]
    inner = []
    for w0, w1, r0, r1 in zip(widths, widths[1:], rises, rises[1:]):
        if r0 * r1 <= 0:
            inner.append(0.0)
        else:
            a, b = 2 * w1 + w0, w1 + 2 * w0
            inner.append((a + b) / (a / r0 + b / r1))

    def end(w0, w1, r0, r1):
        slope = ((2 * w0 + w1) * r0 - w0 * r1) / (w0 + w1)
        if slope * r0 <= 0:
            return 0.0
        return 3 * r0 if r0 * r1 <= 0 and abs(slope) > 3 * abs(r0) else slope

    return [end(widths[0], widths[1], rises[0], rises[1]), *inner,
            end(widths[-1], widths[-2], rises[-1], rises[-2])]


def cubic(xs, ys, x, tangents):
    i = min(max(bisect.bisect(xs, x), 1), len(xs) - 1)
    w = xs[i] - xs[i - 1]
    t = (x - xs[i - 1]) / w
    return ((1 + 2 * t) * (1 - t) ** 2 * ys[i - 1] + t * (1 - t) ** 2 * w * tangents[i - 1]
            + t * t * (3 - 2 * t) * ys[i] + t * t * (t - 1) * w * tangents[i])


def bd_rate(reference, other):
    """Bytes of `other` more (or less: negative) than `reference`'s at equal quality, a share: the mean over the
    qualities that both have of the difference of the bytes' logarithms (Bjøntegaard, VCEG-M33; piecewise cubic as in
    JCTVC-B055). None: fewer than four points, or no quality in common."""
    reference, other = curve(reference), curve(other)
    if min(len(reference), len(other)) < 4:
        return None
    low = max(reference[0][1], other[0][1])
    high = min(reference[-1][1], other[-1][1])
    if high <= low:
        return None

    def mean_log(line):
        xs, ys = [q for _, q in line], [math.log(s) for s, _ in line]
        tangents, steps = slopes(xs, ys), 400
        return sum(cubic(xs, ys, low + (high - low) * (i + 0.5) / steps, tangents) for i in range(steps)) / steps

    return math.exp(mean_log(other) - mean_log(reference)) - 1


COLOURS = ["#1f77b4", "#d62728", "#2ca02c", "#ff7f0e", "#9467bd", "#8c564b", "#17becf"]


def plot(title, axis, series):
    """SVG of quality by bytes (a logarithmic axis). series: {name: [(bytes, quality)]}."""
    width, height, left, bottom, top = 520, 330, 48, 40, 26
    everything = [p for line in series.values() for p in line]
    x0, x1 = (math.log(f(s for s, _ in everything)) for f in (min, max))
    y0, y1 = (f(q for _, q in everything) for f in (min, max))
    margin = 0.04 * (y1 - y0)
    y0, y1 = y0 - margin, y1 + margin

    def place(size, quality):
        return (left + (math.log(size) - x0) / (x1 - x0) * (width - left - 12),
                height - bottom - (quality - y0) / (y1 - y0) * (height - bottom - top))

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
           f'font-size="11"><rect width="{width}" height="{height}" fill="#fff"/>'
           f'<text x="{left}" y="16" font-size="13">{html.escape(title)}</text>'
           f'<text x="{width - 12}" y="{height - 6}" text-anchor="end">kB</text>'
           f'<text x="4" y="{top + 4}">{html.escape(axis)}</text>']
    for decade in range(3, 8):
        for digit in (1, 2, 5):
            size = digit * 10 ** decade
            if x0 <= math.log(size) <= x1:
                x, _ = place(size, y0)
                out.append(f'<path d="M{x:.1f} {top}V{height - bottom}" stroke="#ddd"/><text x="{x:.1f}" '
                           f'y="{height - bottom + 14}" text-anchor="middle">{size // 1000}</text>')
    step = next(s for s in (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5) if (y1 - y0) / s <= 9)
    for i in range(math.ceil(y0 / step), math.floor(y1 / step) + 1):
        _, y = place(everything[0][0], i * step)
        out.append(f'<path d="M{left} {y:.1f}H{width - 12}" stroke="#ddd"/><text x="{left - 4}" y="{y + 4:.1f}" '
                   f'text-anchor="end">{i * step:g}</text>')
    for number, (name, line) in enumerate(series.items()):
        colour = COLOURS[number % len(COLOURS)]
        path = "L".join("{:.1f} {:.1f}".format(*place(*p)) for p in sorted(line))
        out.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        out += ['<circle cx="{:.1f}" cy="{:.1f}" r="2.4" fill="{}"/>'.format(*place(*p), colour) for p in line]
        out.append(f'<text x="{width - 18}" y="{height - bottom - 8 - 14 * (len(series) - 1 - number)}" '
                   f'fill="{colour}" text-anchor="end">{html.escape(name)}</text>')
    return "\n".join(out) + "\n</svg>\n"
