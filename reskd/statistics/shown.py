"""Numbers in words: metrics, differences, intervals and costs, as plain text without markup."""

from __future__ import annotations

from reskd.statistics.metrics import Metric


def shown_value(metric: Metric, value: float) -> str:
    """A metric as it stands in a table: shares in per cent, losses in nats."""
    return rounded(metric.scale * value, metric.digits)


def shown_difference(metric: Metric, value: float) -> str:
    """A difference with its sign; 0 has none."""
    text = shown_value(metric, value)
    return text if text.startswith("-") or float(text) == 0 else f"+{text}"


def shown_interval(metric: Metric, low: float, high: float) -> str:
    return f"{shown_value(metric, low)} to {shown_value(metric, high)}"


def shown_cost(value: float | None) -> str:
    """A number with three significant digits, or more before the point."""
    if value is None:
        return "-"
    return f"{value:.0f}" if value >= 100 else f"{value:#.3g}"


def counted(number: int, noun: str) -> str:
    """Such as "1 video" and "2,000 videos"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def rounded(value: float, digits: int) -> str:
    """Without the sign of a number that rounds to 0."""
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text
