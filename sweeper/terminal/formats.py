"""How accuracies, differences of accuracies and durations are written for people."""

import math


def percent(fraction: float, digits: int = 2) -> str:
    """Return a fraction as a percentage with some digits; only 0 and 1 themselves are shown as 0 % and 100 %.

    >>> percent(0.976), percent(0.99999), percent(1), percent(0.831, 1)
    ('97.60 %', '99.99 %', '100.00 %', '83.1 %')
    """
    least = 10.0**-digits
    rounded = round(fraction * 100, digits)
    if 0 < fraction < 1:
        rounded = min(max(rounded, least), 100 - least)
    return f"{rounded:.{digits}f} %"


def short_percent(fraction: float) -> str:
    """Return a fraction that someone typed, such as a target, as a percentage without needless zeros.

    >>> short_percent(0.99), short_percent(0.9955)
    ('99 %', '99.55 %')
    """
    return f"{100 * fraction:g} %"


def points(difference: float) -> str:
    """Return a positive difference of accuracies in percentage points, never as zero.

    >>> points(0.014), points(0.00001)
    ('1.40 points', 'less than 0.01 points')
    """
    return f"{difference * 100:.2f} points" if difference >= 0.00005 else "less than 0.01 points"


def plus_minus(noise: float) -> str:
    """Return the half width of an accuracy's interval in percentage points, with about two digits.

    >>> plus_minus(0.0134), plus_minus(0.0022)
    ('±1.3', '±0.22')
    """
    return f"±{noise * 100:.1f}" if noise >= 0.00995 else f"±{noise * 100:.2f}"


def duration(seconds: float) -> str:
    """Return a duration as text: seconds up to 90 s, minutes up to 90 min, then hours and minutes.

    >>> duration(0.4), duration(40), duration(240), duration(9000)
    ('0.4 s', '40 s', '4 min', '2 h 30 min')
    """
    if seconds <= 90:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes <= 90 else f"{minutes // 60} h {minutes % 60} min"


def time_left(seconds: float) -> str:
    """Return an estimate of the time left as text: at least a second, because something is still to be done.

    >>> time_left(0), time_left(7.2), time_left(190)
    ('~1 s left', '~8 s left', '~3 min left')
    """
    return f"~{max(1, math.ceil(seconds))} s left" if seconds <= 90 else f"~{duration(seconds)} left"


def clock(seconds: float, limit: float | None = None) -> str:
    """Return a duration as a clock shows it, with its limit if it has one.

    >>> clock(112), clock(3723), clock(42, 600), clock(0.4, 1.5)
    ('1:52', '1:02:03', '0:42/10:00', '0:00/0:02')
    """
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    shown = f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
    return shown if limit is None else f"{shown}/{clock(math.ceil(limit))}"


def counted(count: int, noun: str) -> str:
    """Return a count with its noun, which gets an s unless there is one.

    >>> counted(1, "epoch"), counted(5000, "image")
    ('1 epoch', '5,000 images')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
