"""Overview's curves as a PNG: the same queries, drawn by matplotlib since Grafana itself is not at hand where this is checked."""

import datetime

import matplotlib

matplotlib.use("Agg")
import matplotlib.colors as colors  # noqa: E402
import matplotlib.dates as dates  # noqa: E402
import matplotlib.pyplot as plot  # noqa: E402

PAPER, INK, GRID = "#181b1f", "#ccccdc", "#2c3235"
COLOURS = ["#73bf69", "#f2cc0c", "#5794f2", "#ff9830", "#f2495c", "#b877d9", "#8ab8ff", "#ffa6b0"]
SHOWN = ["Lateness of each post", "Lateness", "Due and not out", "Ended, a minute", "Why attempts did not publish, a minute", "Dollars an hour"]
UNITS = {"s": "s", "currencyUSD": "US$", "short": "", "cpm": "a minute"}


def number(text):
    return float("nan") if text == "NaN" else float(text)


def legend(query, labels):
    """Grafana's legend of a curve."""
    text = query.legend
    for name, value in labels.items():
        text = text.replace("{{" + name + "}}", value)
    return text or ", ".join(labels.values())


def times(series):
    return [datetime.datetime.fromtimestamp(float(at), datetime.timezone.utc) for at, _ in series["values"]]


def heatmap(axes, panel, found, figure):
    found = sorted(found, key=lambda one: float(one["metric"]["le"].replace("+Inf", "inf")))
    stamps = sorted({float(at) for one in found for at, _ in one["values"]})
    by = [{float(at): number(value) for at, value in one["values"]} for one in found]
    rows, below = [], [0.0] * len(stamps)
    for one in by:
        upto = [one.get(at, 0.0) for at in stamps]
        rows.append([max(0.0, a - b) for a, b in zip(upto, below)])
        below = upto
    top = max(at for at, row in enumerate(rows) if max(row) > 0.01) + 2 if any(max(row) > 0.01 for row in rows) else 3
    x = [dates.date2num(datetime.datetime.fromtimestamp(at, datetime.timezone.utc)) for at in stamps]
    # The panel's own exponent: few late posts are seen beside many that were on time.
    axes.pcolormesh(x, range(min(top, len(rows)) + 1), [row[:-1] for row in rows[:top]], cmap="inferno", shading="flat", norm=colors.PowerNorm(0.5))
    axes.set_yticks([at + 0.5 for at in range(min(top, len(rows)))], [one["metric"]["le"] + " s" for one in found[:top]])
    axes.xaxis_date()


def draw(kept, folder, since, now):
    """`kept`: dashboard and panel → [(panel, query, found)]; the file is overview.png in `folder`."""
    plot.rcParams.update({"font.size": 8, "text.color": INK, "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK})
    figure, grid = plot.subplots(2, 3, figsize=(14, 6.6), facecolor=PAPER)
    for axes, title in zip(grid.flat, SHOWN):
        axes.set_facecolor(PAPER)
        axes.set_title(title, loc="left", color=INK, fontsize=10)
        for side in axes.spines.values():
            side.set_color(GRID)
        curves = kept[f"crier: Overview / {title}"]
        panel = curves[0][0]
        if panel.kind == "heatmap":
            heatmap(axes, panel, curves[0][2], figure)
        else:
            axes.grid(color=GRID, linewidth=0.6)
            lines = [(legend(query, series["metric"]), times(series), [number(value) for _, value in series["values"]])
                     for _, query, found in curves for series in (found or [])]
            lines = [line for line in lines if any(value > 0 for value in line[2])] or lines
            if panel.stack:
                axis = sorted({at for _, at, _ in lines for at in at})
                values = [[dict(zip(at, value)).get(moment, 0.0) for moment in axis] for _, at, value in lines]
                values = [[0.0 if v != v else v for v in row] for row in values]
                axes.stackplot(axis, values, labels=[line[0] for line in lines], colors=COLOURS, alpha=0.75)
            else:
                for at, (name, moments, value) in enumerate(lines):
                    axes.plot(moments, value, label=name, color=COLOURS[at % len(COLOURS)], linewidth=1.4)
            # With room for the legend.
            axes.set_ylim(0, axes.get_ylim()[1] * 1.25)
            axes.set_ylabel(UNITS.get(panel.unit, panel.unit))
            axes.legend(loc="upper left", frameon=False, labelcolor=INK, fontsize=7)
        axes.xaxis.set_major_formatter(dates.DateFormatter("%H:%M:%S"))
        axes.xaxis.set_major_locator(dates.AutoDateLocator(minticks=3, maxticks=7))
    figure.tight_layout()
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / "overview.png", dpi=110, facecolor=PAPER)
