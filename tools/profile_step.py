"""``reskd profile step`` in a checkout: reskd/commands/profile/step.py."""

import sys

from reskd.cli import run_tool
from reskd.commands.profile.step import main

if __name__ == "__main__":
    sys.exit(run_tool(main))
