"""Which code a trained file may name.

A checkpoint, an exported student and a run's folder can come from anybody, and reading them runs no code. A network of
a file or module is code: its location in a checkpoint could as well be ``os:system``. So it is executed for a
checkpoint only if the user says that they trust it. A config that the user names is a program of theirs, and an
installed name is offered by a package that they installed for this purpose: both need no word.
"""

from __future__ import annotations

from typing import Any

from reskd.extensions.locate import is_installed_name


def check_trusted(network: Any, source: str, *, trust_code: bool) -> None:
    """Refuse code that ``source`` alone names.

    Args:
        network: a recognizer's config.
        source: the file that it is from.

    Raises:
        ValueError: its network is made by a function of a file or module, and ``trust_code`` is False.
    """
    location = getattr(network, "build", None)
    if location is None or is_installed_name(location) or trust_code:
        return
    raise ValueError(
        f"{source}: its network is made by {location}, which would be executed; if you know that code and trust this "
        "file, say so with --trust-code (in Python: trust_code=True)."
    )
