"""``reskd analyze`` in a checkout: reskd/commands/analyze.py."""

import sys

from reskd.cli import run_tool
from reskd.commands.analyze import main

if __name__ == "__main__":
    sys.exit(run_tool(main))
