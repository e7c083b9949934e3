"""``reskd import-weights`` in a checkout: reskd/commands/import_weights.py."""

import sys

from reskd.cli import run_tool
from reskd.commands.import_weights import main

if __name__ == "__main__":
    sys.exit(run_tool(main))
