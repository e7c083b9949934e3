"""``reskd evaluate`` in a checkout: reskd/commands/evaluate.py."""

import sys

from reskd.cli import run_tool
from reskd.commands.evaluate import main

if __name__ == "__main__":
    sys.exit(run_tool(main))
