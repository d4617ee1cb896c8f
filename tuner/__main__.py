"""`python -m tuner` is `tuner`."""

import sys

if not sys.flags.safe_path:
    del sys.path[0]  # the working folder: what lies there is not to be imported in place of ours

from tuner.cli import main

main()
