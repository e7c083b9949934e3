"""The commands of ``reskd``, a file each: read the command line, build, call.

For other folders: main of each file, for reskd/__main__.py and tools/.
"""
