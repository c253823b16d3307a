"""Amounts and assets. An amount is a whole number of minor units; an asset is a code with its scale, such as USD/2."""

from __future__ import annotations

import re

GREATEST_AMOUNT = 2**53 - 1  # what every JSON reader holds exactly
GREATEST_ID = 2**63 - 1
ASSET = re.compile(r"[A-Z][A-Z0-9]{0,15}/(0|[1-9]|1[0-8])")
