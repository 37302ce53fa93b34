"""What holds for all tests: how hypothesis searches, and that figures need no screen."""

from __future__ import annotations

import os

from hypothesis import settings

os.environ["MPLBACKEND"] = "agg"

settings.register_profile("local", deadline=None, print_blob=True)
settings.register_profile("ci", settings.get_profile("local"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "local")
