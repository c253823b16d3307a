"""Where an instance of a service is: `HOST:PORT`, or an `http` or `https` URL without user, query or fragment.

The shape is one regular expression, so that the document of the API can say it to the letter. Hosts are DNS names, IPv4
addresses, or IPv6 addresses in brackets (RFC 3986). Whether anybody is there is not looked at.
"""

from __future__ import annotations

import re

LONGEST_ADDRESS = 512
ADDRESS_SHAPE = "HOST:PORT or an http(s) URL, such as 10.0.0.5:8080, [::1]:8080 or https://mail.example.com/hooks"


def _ipv6() -> str:
    """RFC 3986, IPv6address: sixteen bits eight times, or fewer with `::` once among them; the last two may be IPv4."""
    h16 = "[0-9A-Fa-f]{1,4}"
    ls32 = rf"(?:{h16}:{h16}|{_IPV4})"
    forms = [rf"(?:{h16}:){{6}}{ls32}", rf"::(?:{h16}:){{5}}{ls32}"]
    for before, tail in enumerate((*(rf"(?:{h16}:){{{n}}}{ls32}" for n in (4, 3, 2, 1, 0)), h16, "")):
        forms.append(rf"(?:(?:{h16}:){{0,{before}}}{h16})?::{tail}")
    return "|".join(forms)


_BYTE = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_IPV4 = rf"{_BYTE}(?:\.{_BYTE}){{3}}"
_LABEL = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_LAST_LABEL = "[A-Za-z](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"  # a number there would be a wrong IPv4 address
_HOST = rf"(?:{_IPV4}|\[(?:{_ipv6()})\]|(?:{_LABEL}\.)*{_LAST_LABEL})"
_PORT = "(?:6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5][0-9]{4}|[1-9][0-9]{0,3})"
_PATH = r"(?:/(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*)?"
ADDRESS = re.compile(rf"{_HOST}:{_PORT}|https?:/{{2}}{_HOST}(?::{_PORT})?{_PATH}", re.ASCII)


def is_address(text: str) -> bool:
    """Whether it is one."""
    return len(text) <= LONGEST_ADDRESS and ADDRESS.fullmatch(text) is not None
