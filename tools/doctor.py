"""``reskd doctor`` in a checkout: reskd/commands/doctor.py."""

import sys

from reskd.cli import run_tool
from reskd.commands.doctor import main

if __name__ == "__main__":
    sys.exit(run_tool(main))
