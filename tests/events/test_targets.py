"""Which URLs are taken, and which addresses may be connected to: a table of each."""

from __future__ import annotations

import pytest

from service.errors import InvalidInput
from service.events.targets import Addresses, ServiceTarget, Target, parse_url

GOOD = [
    ("https://a.example", Target("https", "a.example", 443, "/")),
    ("http://a.example", Target("http", "a.example", 80, "/")),
    ("https://A.Example:8443/x?y=1&z=%20", Target("https", "a.example", 8443, "/x?y=1&z=%20")),
    ("https://a.example./x", Target("https", "a.example", 443, "/x")),
    ("http://93.184.216.34/", Target("http", "93.184.216.34", 80, "/")),
    ("http://[2606:2800:220:1:0:0:0:1]:8080/", Target("http", "2606:2800:220:1::1", 8080, "/")),
    ("https://xn--bcher-kva.example/", Target("https", "xn--bcher-kva.example", 443, "/")),
    ("https://a_b.internal:65535/", Target("https", "a_b.internal", 65535, "/")),
    ("https://a.example/@/:x;y,z!'()*+$~_.-", Target("https", "a.example", 443, "/@/:x;y,z!'()*+$~_.-")),
    ("service://mail", ServiceTarget("mail", "/")),
    ("service://mail-2/in?x=1", ServiceTarget("mail-2", "/in?x=1")),
]
BAD = [
    "", "a.example", "//a.example/", "ftp://a.example/", "file:///etc/passwd", "gopher://a.example/", "javascript:alert(1)",
    "HTTPS://a.example/", "https:/a.example/", "https:///x", "https://", "https://?x", "https://a.example?x=1",
    "https://user@a.example/", "https://user:password@a.example/", "https://a.example@127.0.0.1/", "https://a.example#x",
    "https://a.example/#x", "https://a.example/ x", " https://a.example/", "https://a.example/\n",
    "https://a.example/\r\nX: y",
    "https://a.example\\@b.example/", "https://a.example/<x>", "https://a.example/\x00", "https://ä.example/",
    "https://a.example/ä", "https://a..example/", "https://.example/", "https://-a.example/", "https://a-.example/",
    "https://" + "a" * 64 + ".example/", "https://" + "a." * 127 + "example/", "https://a.example:0/", "https://a.example:65536/",
    "https://a.example:/", "https://a.example:080/", "https://a.example:8a/", "https://[::1/", "https://[]/", "https://[::g]/",
    "https://[fe80::1%25eth0]/", "https://[fe80::1%eth0]/", "https://[1.2.3.4]/", "https://::1/", "https://1.2.3/",
    "https://127.1/", "https://2130706433/", "https://0x7f000001/", "https://0x7f.1/", "https://1.2.3.04/", "https://1.2.3.256/",
    "https://a.0x/", "https://a.1/", "https://1.2.3.4./", "https://a.example/" + "x" * 2048, "service://", "service:///x",
    "service://Mail/", "service://a.b/", "service://a:80/", "service://a@b/", "service://" + "a" * 64 + "/", "service://a?x",
]
NOT_PUBLIC = [
    "0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.127.255.255", "127.0.0.1", "127.255.255.254",
    "169.254.169.254", "169.254.0.1", "172.16.0.1", "172.31.255.255", "192.0.0.8", "192.0.2.1", "192.31.196.1", "192.52.193.1",
    "192.88.99.1", "192.168.0.1", "192.175.48.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1",
    "239.255.255.255", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:0:127.0.0.1",
    "64:ff9b::7f00:1", "64:ff9b::808:808", "64:ff9b:1::1", "100::1", "2001::1", "2001:0:7f00:1::1", "2001:10::1", "2001:20::1",
    "2001:2::1", "2001:db8::1", "2002:7f00:1::1", "2002:a00:1::", "2620:4f:8000::1", "3fff::1", "5f00::1", "fc00::1",
    "fd00:ec2::254",
    "fe80::1", "fe80::1%eth0", "2606:4700::1%eth0", "fec0::1", "ff02::1", "ff0e::1", "4000::1",
    "", "localhost", "1.2.3", "0x7f.1", "127.0.0.1/8", "1.2.3.4 ", "01.2.3.4",
]
PUBLIC = [
    "1.1.1.1", "8.8.8.8", "93.184.216.34", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255",
    "128.0.0.0", "169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "192.0.1.0", "192.167.255.255",
    "192.169.0.0", "198.17.255.255", "198.20.0.0", "223.255.255.255", "::ffff:8.8.8.8", "2606:4700:4700::1111",
    "2001:4860:4860::8888",
    "2a00:1450:4001::1", "2003::1",
]


@pytest.mark.parametrize(("url", "target"), GOOD)
def test_good_urls(url: str, target: Target | ServiceTarget) -> None:
    """In their parts: the scheme's port, the host as it is looked up, at least / for a path."""
    assert parse_url(url) == target


@pytest.mark.parametrize("url", BAD)
def test_bad_urls(url: str) -> None:
    """Each is refused, and the field is named."""
    with pytest.raises(InvalidInput) as caught:
        parse_url(url, field="callback")
    (problem,) = caught.value.fields
    assert problem.field == "callback"


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_addresses_that_are_not_public(address: str) -> None:
    """This host, its networks, metadata, what carries an IPv4 address inside, multicast, and what is no address."""
    assert not Addresses().allow(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses(address: str) -> None:
    """Also those right beside the ranges that are not."""
    assert Addresses().allow(address)


def test_the_operator_may_name_networks() -> None:
    """Those and nothing beside them, whatever clothes the address wears."""
    addresses = Addresses(["10.1.0.0/16", "::1", "192.0.2.7"])
    for address in ("10.1.2.3", "::ffff:10.1.2.3", "::1", "192.0.2.7", "8.8.8.8"):
        assert addresses.allow(address), address
    for address in ("10.2.0.1", "::ffff:10.2.0.1", "::2", "192.0.2.8", "127.0.0.1"):
        assert not addresses.allow(address), address


@pytest.mark.parametrize(
    ("url", "is_allowed"),
    [
        ("http://127.0.0.1/", False), ("http://[::1]/", False), ("http://localhost/", False),
        ("http://a.localhost:80/", False),
        ("http://[::ffff:10.0.0.1]/", False), ("http://169.254.169.254/latest/", False), ("http://8.8.8.8/", True),
        ("http://a.example/", True), ("service://a/", True),
    ],
)
def test_an_address_in_a_url_is_judged_at_once(url: str, is_allowed: bool) -> None:
    """A name is not looked up: what it stands for is judged at each attempt."""
    if is_allowed:
        Addresses().check_literal(parse_url(url))
        return
    with pytest.raises(InvalidInput, match="public internet"):
        Addresses().check_literal(parse_url(url))


@pytest.mark.parametrize(
    ("address", "target"),
    [
        ("10.0.0.5:8080", Target("http", "10.0.0.5", 8080, "/in?x=1")),
        ("mail.internal:80", Target("http", "mail.internal", 80, "/in?x=1")),
        ("https://mail.internal/base/", Target("https", "mail.internal", 443, "/base/in?x=1")),
        ("https://mail.internal/base?y=2", Target("https", "mail.internal", 443, "/base/in?x=1")),
        ("[::1]:80", Target("http", "::1", 80, "/in?x=1")),
    ],
)
def test_a_service_at_an_instance(address: str, target: Target) -> None:
    """The path of the webhook, below that of the instance."""
    assert ServiceTarget("mail", "/in?x=1").at(address) == target


@pytest.mark.parametrize("address", ["service://mail/", "file:///x", "a b:80", "http://u@h/", ""])
def test_an_address_that_is_none(address: str) -> None:
    """One service does not lead to another."""
    with pytest.raises(InvalidInput):
        ServiceTarget("mail", "/").at(address)


def test_how_a_target_is_called() -> None:
    """The port is left out of `Host` where it is the scheme's, and never of the label; IPv6 is in brackets."""
    assert (Target("https", "a.b", 443, "/").authority, Target("https", "a.b", 443, "/").label) == ("a.b", "a.b:443")
    assert Target("http", "a.b", 443, "/").authority == "a.b:443"
    assert Target("http", "::1", 80, "/").authority == "[::1]"
