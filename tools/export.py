"""``reskd export`` in a checkout: reskd/commands/export.py."""

import sys

from reskd.cli import run_tool
from reskd.commands.export import main

if __name__ == "__main__":
    sys.exit(run_tool(main))
