"""``reskd profile decode``, ``profile train`` and ``profile step``: measurements of reading and training.

For other folders: main of each file, for reskd/__main__.py and tools/.
"""
