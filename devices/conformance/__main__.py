"""``python -m innpar.devices.conformance NAME[:ARGUMENT] …``: check devices by name."""

import sys

from innpar.devices.conformance import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
