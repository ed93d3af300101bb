"""`python -m rxhub.cli` runs the command `rxhub`."""

from __future__ import annotations

import sys

from rxhub.cli import main

sys.exit(main())
