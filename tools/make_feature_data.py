"""``reskd make-feature-data`` in a checkout: reskd/commands/make_feature_data.py."""

import sys

from reskd.cli import run_tool
from reskd.commands.make_feature_data import main

if __name__ == "__main__":
    sys.exit(run_tool(main))
