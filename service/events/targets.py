"""Where webhooks may go: which URLs are taken, and which addresses are connected to.

Whoever may make a webhook tells this host to connect somewhere. So that nobody reaches what is only within reach of this
host (its own services, the network behind it, a cloud's metadata), an address must be one of the public internet, or be in a
network that the operator has named. The rule is held against the addresses that are connected to, not against names: a name
may change what it stands for at any time. It has no use for proxies, redirects or credentials in URLs.

For IPv6 only 2000::/3 is public at all, without those parts that carry an IPv4 address or lead nowhere: through such a part
(6to4, Teredo, NAT64) one could come to any address of IPv4 by a way round. An IPv4 address in IPv6's clothes (::ffff:a.b.c.d)
is judged as what it is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from service.errors import FieldError, InvalidInput
from service.events.registry import SERVICE_NAME
from service.networks import Networks

MOST_URL = 2048  # characters
_SERVICE_NAME = SERVICE_NAME.pattern
_REST = r"(/[!$-;=?-Z_a-z~%@]*)?"  # the path and the query: printable ASCII without space, " # < > [ \ ] ^ ` { | }
URL = re.compile(
    rf"https?://(\[[0-9A-Fa-f:.]{{2,45}}\]|[A-Za-z0-9_]([A-Za-z0-9._-]{{0,252}}))(:[1-9][0-9]{{0,4}})?{_REST}"
    rf"|service://{_SERVICE_NAME}{_REST}",
    re.ASCII,
)
URL_SHAPE = f"expected https://HOST/PATH, http://HOST/PATH or service://NAME/PATH, in at most {MOST_URL} characters of ASCII"
_PARTS = re.compile(r"(https?)://(\[[^]]*\]|[^:/?]*)(?::([0-9]+))?(.*)", re.DOTALL)
_SERVICE = re.compile(rf"service://({_SERVICE_NAME})(.*)", re.DOTALL)
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII)
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)
_PORTS = {"https": 443, "http": 80}

_NOT_PUBLIC_4 = [ip_network(text) for text in (
    "0.0.0.0/8",  # this host
    "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16",  # private
    "100.64.0.0/10",  # carriers' NAT
    "127.0.0.0/8",  # loopback
    "169.254.0.0/16",  # link-local, where clouds have their metadata
    "192.0.0.0/24", "192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24",  # protocols, documentation
    "192.31.196.0/24", "192.52.193.0/24", "192.175.48.0/24",  # AS112 and AMT
    "192.88.99.0/24",  # relays of 6to4
    "198.18.0.0/15",  # benchmarks
    "224.0.0.0/4", "240.0.0.0/4",  # multicast; reserved, with the broadcast
)]
_PUBLIC_6 = ip_network("2000::/3")
_NOT_PUBLIC_6 = [ip_network(text) for text in (
    "2001::/23",  # protocols: Teredo, ORCHID, benchmarks
    "2001:db8::/32", "3fff::/20",  # documentation
    "2002::/16",  # 6to4
    "2620:4f:8000::/48",  # AS112
)]


@dataclass(frozen=True, slots=True)
class Target:
    """What an http or https URL points to. `host` is a name, or an address without brackets; `path` has the query too."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def label(self) -> str:
        """The host and port: whatever has the same is one target, with one bound and one breaker."""
        return f"{self._shown_host}:{self.port}"

    @property
    def authority(self) -> str:
        """The value of `Host`."""
        return self._shown_host if self.port == _PORTS[self.scheme] else self.label

    @property
    def _shown_host(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host


@dataclass(frozen=True, slots=True)
class ServiceTarget:
    """What a service:// URL points to: a path at whatever instance of the service there is."""

    name: str
    path: str

    def at(self, address: str) -> Target:
        """The target at an instance: `host:port`, which is reached by http, or a URL to whose path this one's is added.

        Raises InvalidInput for an address that is neither.
        """
        target = parse_url(address if "://" in address else f"http://{address}")
        if isinstance(target, ServiceTarget):
            raise _refusal("a service's address leads to another service")
        base, _, _ = target.path.partition("?")
        return Target(target.scheme, target.host, target.port, base.rstrip("/") + self.path)


def parse_url(url: str, *, field: str = "url") -> Target | ServiceTarget:
    """What `url` points to. Raises InvalidInput, which blames `field` and says what is wrong with it."""
    if len(url) > MOST_URL or URL.fullmatch(url) is None:
        raise _refusal(what_is_wrong(url), field)
    if (service := _SERVICE.fullmatch(url)) is not None:
        return ServiceTarget(service[1], service[2] or "/")
    parts = _PARTS.fullmatch(url)
    assert parts is not None, "URL has matched"
    scheme, host, port, rest = parts.groups()
    if port is not None and int(port) > 65535:
        raise _refusal("a port is at most 65535", field)
    return Target(scheme, _host(host.lower(), field), int(port) if port else _PORTS[scheme], rest or "/")


class Addresses:
    """Which addresses may be connected to: public ones, and those in `networks`, which the operator has named."""

    def __init__(self, networks: Sequence[str] = ()) -> None:
        self._named = Networks(networks)

    def allow(self, address: str) -> bool:
        """Whether `address`, of either version, may be connected to. What is no address may not."""
        try:
            ip = ip_address(address)
        except ValueError:
            return False
        return self._named.include(address) or is_public(ip)

    def check_literal(self, target: Target | ServiceTarget, *, field: str = "url") -> None:
        """Raises InvalidInput where the URL itself names an address that may not be connected to. Names are not looked up."""
        if not isinstance(target, Target):
            return
        if target.host == "localhost" or target.host.endswith(".localhost"):
            is_refused = not (self.allow("127.0.0.1") or self.allow("::1"))
        else:
            is_refused = _is_address(target.host) and not self.allow(target.host)
        if is_refused:
            raise _refusal("this address is not on the public internet, nor in a network that the operator allows", field)


def what_is_wrong(url: str) -> str:
    """Of a `url` that does not have the form."""
    authority = url.partition("://")[2].partition("/")[0]
    if url.startswith(("http://", "https://")) and "@" in authority:
        return "no user name or password in a URL: a webhook proves itself by its signature"
    if "#" in url:
        return "a fragment is never sent: leave out what follows #"
    return URL_SHAPE


def is_public(ip: IPv4Address | IPv6Address) -> bool:
    """Whether `ip` is of the public internet, and leads nowhere else."""
    if isinstance(ip, IPv6Address):
        if ip.ipv4_mapped is None:
            return ip.scope_id is None and ip in _PUBLIC_6 and not any(ip in network for network in _NOT_PUBLIC_6)
        ip = ip.ipv4_mapped
    return not any(ip in network for network in _NOT_PUBLIC_4)


def _host(host: str, field: str) -> str:
    """The host of a URL as it is looked up, in lower case and without brackets. Raises InvalidInput."""
    if host.startswith("["):
        if ":" not in host or not _is_address(host[1:-1]):
            raise _refusal("in the brackets there is no IPv6 address", field)
        return str(ip_address(host[1:-1]))
    name = host.removesuffix(".")
    labels = name.split(".")
    if _NUMBER.fullmatch(labels[-1]) is not None:  # libraries read 127.1, 0x7f.1 and 2130706433 as addresses
        if not _is_address(host):
            raise _refusal("a host that ends in a number must be an IPv4 address of four decimal numbers", field)
        return host
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise _refusal("the host is no name: labels of up to 63 letters, digits and hyphens with dots between them", field)
    return name


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _refusal(message: str, field: str = "url") -> InvalidInput:
    return InvalidInput(f"{field}: {message}.", fields=(FieldError(field, message),))
