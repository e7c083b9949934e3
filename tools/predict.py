"""``reskd predict`` in a checkout: reskd/commands/predict.py."""

import sys

from reskd.cli import run_tool
from reskd.commands.predict import main

if __name__ == "__main__":
    sys.exit(run_tool(main))
