"""The command line as ``python -m innpar``."""

import sys

from innpar.stream.cli.main import main

sys.exit(main())
