"""`python -m rxhub` is `rxhub`."""

from __future__ import annotations

import sys

from _rxhub_command import main

sys.exit(main())
