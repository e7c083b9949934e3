"""``reskd train`` in a checkout: reskd/commands/train.py."""

import sys

from reskd.cli import run_tool
from reskd.commands.train import main

if __name__ == "__main__":
    sys.exit(run_tool(main))
