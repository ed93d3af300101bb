"""`python -m rxhub` runs the command `rxhub`."""

from __future__ import annotations

import sys

from _rxhub_command import main

sys.exit(main())
