"""`python -m tuner` is `tuner`."""

import sys

if __name__ == "__main__" and not sys.flags.safe_path:
    del sys.path[0]  # the working folder: what lies there is not to be imported in place of ours

from tuner.cli import main

if __name__ == "__main__":
    main()
