"""`python -m scenarios.faults.kinds`: the tables of docs/faults.md, between its two marks."""

from __future__ import annotations

import sys

from scenarios.faults.kinds.markdown import markdown

sys.stdout.write(markdown())
