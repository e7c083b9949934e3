"""Builds the site of the documents: mkdocs reads docs/ as it is, and hooks.py adds what is not there.

Nothing here needs torch or DALI, so `make docs` takes seconds (CONTRIBUTING.md has how to add a page).
"""
