"""Programs that reskd export writes beside an exported student; they import nothing of this package.

The files are copied as they stand, so none of them imports this package, and this package imports none of them.
"""
