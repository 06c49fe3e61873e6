"""`python run.py` is `batchway start`: the way in that users of the batching middleware know."""

import sys

from batchway.cli import main

if __name__ == "__main__":
    sys.argv.insert(1, "start")
    main()
