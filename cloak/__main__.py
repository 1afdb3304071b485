"""``python -m cloak``: the command without its script."""

import sys

from cloak.cli import main

sys.exit(main())
