"""Ids of requests and spans: unlike all others, and no secret, so they need not cost a call of the kernel each."""

from __future__ import annotations

import os
from random import Random

_random = Random()  # noqa: S311  # nosec B311  # no secrets; seeded by the system, in each process anew
os.register_at_fork(after_in_child=_random.seed)


def new_id(hex_digits: int) -> str:
    """So many random hexadecimals, an even number, lower case."""
    return _random.getrandbits(4 * hex_digits).to_bytes(hex_digits // 2, "big").hex()  # half of what formatting costs
