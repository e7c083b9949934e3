"""Attacks with inputs made to break the system, each with a seed: ``python -m tests.attacks.NAME --count N``."""
