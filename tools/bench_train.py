"""``reskd profile train`` in a checkout: reskd/commands/profile/train.py."""

import sys

from reskd.cli import run_tool
from reskd.commands.profile.train import main

if __name__ == "__main__":
    sys.exit(run_tool(main))
