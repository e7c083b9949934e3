"""The one look of all pages and charts: colors and the style sheet, light and dark as the reader's system asks.

The six colors of lines and marks are those of Okabe and Ito (jfly.uni-koeln.de/color), which color-blind people can
tell apart; the light ones are darkened to a contrast of 3 to 1 with the page. No color stands alone: marks differ in
shape too, lines in their dashes. Text has a contrast of at least 4.5 to 1 (WCAG 2.2, AA).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# What a color is for -> its value. Numbered ones are those of lines, marks and bars, in order.
LIGHT: Mapping[str, str] = {
    "page": "#ffffff", "card": "#f5f6f8", "ink": "#1b1f24", "soft": "#59636e", "rule": "#d5dae0",
    "good": "#00664b", "bad": "#ad3f00", "open": "#59636e", "cell": "#5aa9d6",
    "c0": "#0072b2", "c1": "#d55e00", "c2": "#00835f", "c3": "#b0568a", "c4": "#946300", "c5": "#2b87bb",
}  # fmt: skip
DARK: Mapping[str, str] = {
    "page": "#14171b", "card": "#1e2329", "ink": "#e6e9ed", "soft": "#a3adb8", "rule": "#39414a",
    "good": "#4fd1a5", "bad": "#ff9d66", "open": "#a3adb8", "cell": "#1f6fa3",
    "c0": "#5cb3ea", "c1": "#ff8f4f", "c2": "#3fcaa0", "c3": "#e79ac5", "c4": "#e6b84a", "c5": "#a9c4ff",
}  # fmt: skip
NUM_COLORS = 6


def _variables(colors: Mapping[str, str]) -> str:
    return "".join(f" --{name}: {value};" for name, value in colors.items())


def matplotlib_style() -> Any:
    """Settings for ``matplotlib.rc_context``: the light colors, line styles in turn, twice the pixels of a screen."""
    from cycler import cycler

    colors = [LIGHT[f"c{number}"] for number in range(NUM_COLORS)]
    return {
        "axes.prop_cycle": cycler(color=colors),
        "axes.edgecolor": LIGHT["soft"],
        "axes.labelcolor": LIGHT["ink"],
        "axes.titlesize": 10,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "text.color": LIGHT["ink"],
        "xtick.color": LIGHT["soft"],
        "ytick.color": LIGHT["soft"],
        "grid.color": LIGHT["rule"],
        "savefig.dpi": 200,
        "savefig.facecolor": LIGHT["page"],
    }


_RULES = """
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1120px; padding: 20px 16px 60px; background: var(--page); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0.4em 0; }
h2 { font-size: 1.2rem; margin: 2em 0 0.5em; }
.lead { background: var(--card); border-left: 4px solid var(--c0); padding: 4px 16px; border-radius: 4px; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 0.92rem; overflow-wrap: normal; }
caption { text-align: left; color: var(--soft); padding-bottom: 6px; }
caption span { display: block; position: sticky; left: 0; max-width: min(100%, calc(100vw - 36px)); }
th, td { text-align: left; vertical-align: top; padding: 5px 10px; border-bottom: 1px solid var(--rule); }
thead th { border-bottom: 2px solid var(--rule); vertical-align: bottom; }
th { font-weight: 600; }
tbody th { font-weight: 500; min-width: 9em; max-width: 22em; overflow-wrap: anywhere; }
td { min-width: 5.5em; }
.number { text-align: right; font-variant-numeric: tabular-nums; }
td.number { min-width: 0; white-space: nowrap; }
td.better, td.worse, td.undecided, td.failed, td.diverged { font-weight: 600; white-space: nowrap; }
.better { color: var(--good); } .worse, .failed, .diverged { color: var(--bad); } .undecided { color: var(--open); }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 460px), 1fr)); gap: 22px; }
.charts.small { grid-template-columns: repeat(auto-fill, minmax(min(100%, 260px), 1fr)); }
figure { margin: 0; } figcaption { font-weight: 600; margin-bottom: 4px; }
figure img { max-width: 100%; height: auto; }
pre { background: var(--card); padding: 10px 14px; border-radius: 4px; white-space: pre-wrap; }
.chart { width: 100%; height: auto; display: block; font-family: inherit; }
.chart text { font-size: 12.5px; fill: var(--ink); }
.chart text.tick, .chart text.axis { fill: var(--soft); font-size: 12px; }
.chart text.better { fill: var(--good); } .chart text.worse { fill: var(--bad); }
.chart text.undecided { fill: var(--open); }
.label { paint-order: stroke; stroke: var(--page); stroke-width: 4px; stroke-linejoin: round; }
.grid { stroke: var(--rule); stroke-width: 0.7; } .zero { stroke: var(--soft); stroke-width: 1.4; }
.c0 { --arm: var(--c0); } .c1 { --arm: var(--c1); } .c2 { --arm: var(--c2); } .c3 { --arm: var(--c3); }
.c4 { --arm: var(--c4); } .c5 { --arm: var(--c5); }
.mark { fill: var(--arm); stroke: var(--page); stroke-width: 1; }
.bar { stroke: var(--arm); stroke-width: 1.6; }
.line { fill: none; stroke: var(--arm); stroke-width: 2; }
.leader { stroke: var(--soft); stroke-width: 0.8; }
.frontier { fill: none; stroke: var(--soft); stroke-width: 1.3; stroke-dasharray: 5 4; }
.band { fill: var(--arm); opacity: 0.16; } .column { fill: var(--arm); opacity: 0.8; }
.whisker { stroke: var(--ink); stroke-width: 1.6; }
.curve { fill: none; stroke: var(--arm); stroke-width: 1.3; opacity: 0.75; }
.interval { stroke: currentColor; stroke-width: 2; } .estimate { fill: currentColor; }
.seed { fill: var(--page); stroke: var(--soft); stroke-width: 1.2; }
.scroll + .scroll, .scroll + .charts, .charts + .scroll { margin-top: 20px; }
.charts.wide { grid-template-columns: minmax(0, 1fr); } .charts.wide figure { max-width: 980px; }
td.whole { white-space: nowrap; }
.run { fill: none; stroke: var(--arm); stroke-width: 2; }
.run.c1 { stroke-dasharray: 8 3; } .run.c2 { stroke-dasharray: 2 3; } .run.c3 { stroke-dasharray: 9 3 2 3; }
.run.c4 { stroke-dasharray: 5 5; } .run.c5 { stroke-dasharray: 12 4; }
.cell { fill: var(--cell); } .diagonal { fill: none; stroke: var(--soft); stroke-width: 1.3; stroke-dasharray: 5 4; }
.good { color: var(--good); } .warning { color: var(--bad); } .neutral { color: var(--soft); }
.lead p.answer { font-size: 1.15rem; font-weight: 600; }
.thumbs { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 165px), 1fr)); gap: 16px;
  list-style: none; padding: 0; margin: 0.5em 0; }
.thumbs img, .thumbs .gone { width: 100%; aspect-ratio: 4 / 3; object-fit: cover; border-radius: 4px; display: block;
  background: var(--card); border: 1px solid var(--rule); }
.thumbs .gone { display: flex; align-items: center; padding: 10px; color: var(--soft); font-size: 0.82rem;
  border-style: dashed; }
.thumbs p { margin: 4px 0 0; font-size: 0.88rem; line-height: 1.35; } .thumbs .name { color: var(--soft);
  font-size: 0.8rem; }
.advice li { margin: 0.35em 0; }
"""

STYLE = (
    f"\n:root {{ color-scheme: light dark;{_variables(LIGHT)} }}\n"
    f"@media (prefers-color-scheme: dark) {{ :root {{{_variables(DARK)} }} }}{_RULES}"
)
