"""Attacks on the whole system with seeded random inputs, each a module to run alone and a test of a bounded number."""
