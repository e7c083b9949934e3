"""``reskd gpu-check`` in a checkout: reskd/commands/gpu_check.py."""

import sys

from reskd.cli import run_tool
from reskd.commands.gpu_check import main

if __name__ == "__main__":
    sys.exit(run_tool(main))
