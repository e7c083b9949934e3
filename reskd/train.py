"""``reskd train`` as a module, for ``torchrun -m reskd.train``."""

import sys

from reskd.__main__ import run_command

if __name__ == "__main__":
    sys.exit(run_command("train"))
