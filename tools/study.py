"""``reskd study`` in a checkout: reskd/commands/study.py."""

import sys

from reskd.cli import run_tool
from reskd.commands.study import main

if __name__ == "__main__":
    sys.exit(run_tool(main))
