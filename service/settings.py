"""How settings are read out of an environment, and what makes a good address, network or origin."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from service.limits.bucket import MOST_RATE_PER_S
from service.networks import is_network


def mask_password(url: str) -> str:
    """`url` with its password, if any, as `***`, in the authority or among the parameters."""
    if not is_postgres_url(url):
        return "***"
    parts = urlsplit(url)
    netloc = parts.netloc
    if "@" in netloc and ":" in netloc.rpartition("@")[0]:
        userinfo, _, host = netloc.rpartition("@")
        netloc = f"{userinfo.partition(':')[0]}:***@{host}"
    query = "&".join("password=***" if p.lower().startswith("password=") else p for p in parts.query.split("&"))
    return urlunsplit((parts.scheme, netloc, parts.path, query, parts.fragment))


def is_postgres_url(url: str) -> bool:
    """Whether it could be the address of a database."""
    try:
        return urlsplit(url).scheme in ("postgresql", "postgres")
    except ValueError:  # an address in brackets that is none
        return False


def is_proxy(text: str) -> bool:
    """Whether it names proxies: a network, or `unix:` for those on a Unix socket."""
    return text == "unix:" or is_network(text)


def is_origin(text: str) -> bool:
    """Whether browsers may call it an origin; `*` is every one."""
    return text == "*" or urlsplit(text).scheme in ("http", "https")


class Reader:
    """Takes settings out of an environment, the default for one that is missing or wrong; `problems` says what is wrong."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = env
        self.problems: list[str] = []

    def text(self, name: str, default: str) -> str:
        """Without white space around it; an empty one counts as missing."""
        return self._env.get(name, "").strip() or default

    def secret(self, name: str) -> str | None:
        """From the environment, else from the credential of its name."""
        if value := self.text(name, ""):
            return value
        folder = self._env.get("CREDENTIALS_DIRECTORY")
        path = Path(folder) / name.lower() if folder else None
        if path is None or not path.exists():
            return None
        try:
            return path.read_text("utf-8").strip() or None
        except (OSError, UnicodeError) as exc:
            self.problems.append(f"{name}: the credential {path} cannot be read: {exc}")
            return None

    def integer(self, name: str, default: int, low: int, high: int) -> int:
        """A whole number in a range."""
        text = self.text(name, str(default))
        if text.isascii() and text.isdecimal() and len(text) < 10 and low <= int(text) <= high:
            return int(text)
        self.problems.append(f"{name}={text!r}: expected a whole number from {low} to {high}")
        return default

    def rate(self, name: str, default: float) -> float:
        """Requests a second."""
        text = self.text(name, f"{default:g}")
        if text.isascii() and text.replace(".", "", 1).isdecimal() and 0 < float(text) <= MOST_RATE_PER_S:
            return float(text)
        self.problems.append(f"{name}={text!r}: expected requests a second, above 0 and up to {MOST_RATE_PER_S}")
        return default

    def run_dir(self, data_dir: Path) -> Path:
        """LEDGERD_RUN_DIR, else the folder that systemd makes for the unit (the first of several), else one in the data."""
        systemd = self._env.get("RUNTIME_DIRECTORY", "").partition(":")[0]
        return Path(os.path.abspath(self.text("LEDGERD_RUN_DIR", "") or systemd or data_dir / "run"))

    def seconds(self, name: str, default: float, *, or_off: bool = False) -> float:
        """A time of up to a day; 0 only where that turns something off."""
        text = self.text(name, str(default))
        is_number = text.isascii() and text.replace(".", "", 1).isdecimal()
        if is_number and (0 < float(text) <= 86_400 or (or_off and float(text) == 0)):
            return float(text)
        off = ", or 0 for never" if or_off else ""
        self.problems.append(f"{name}={text!r}: expected seconds above 0 and up to 86400, such as 30 or 2.5{off}")
        return default
