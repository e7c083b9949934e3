"""``reskd profile decode`` in a checkout: reskd/commands/profile/decode.py."""

import sys

from reskd.cli import run_tool
from reskd.commands.profile.decode import main

if __name__ == "__main__":
    sys.exit(run_tool(main))
