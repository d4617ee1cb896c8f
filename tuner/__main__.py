"""`python -m tuner` is `tuner`."""

import sys

if __name__ == "__main__" and not sys.flags.safe_path:
    del sys.path[0]  # the working folder, whose modules must not shadow ours

from tuner.cli import main

if __name__ == "__main__":
    main()
