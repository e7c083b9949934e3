"""``reskd report`` in a checkout: reskd/commands/report.py."""

import sys

from reskd.cli import run_tool
from reskd.commands.report import main

if __name__ == "__main__":
    sys.exit(run_tool(main))
