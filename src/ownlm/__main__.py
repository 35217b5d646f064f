"""`python -m ownlm` is the command `ownlm`."""

import sys

from ownlm.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
