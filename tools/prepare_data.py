"""``reskd prepare`` in a checkout: reskd/commands/prepare_data.py."""

import sys

from reskd.cli import run_tool
from reskd.commands.prepare_data import main

if __name__ == "__main__":
    sys.exit(run_tool(main))
