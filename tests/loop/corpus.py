"""Requests that are valid, odd or hostile, as bytes: the known forms of smuggling and what parsers disagree about.

Sources of the forms: RFC 9112 sections 2 to 7 and 11.2; the published research on request smuggling (Linhart et al. 2005,
Kettle 2019 and 2022). Each case has a name that is its id in the tests.
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.loop.application import ROUTES

H = b"Host: ledger.example\r\n"
CASES: dict[str, bytes] = {}


def _add(kind: str, requests: dict[str, bytes] | list[bytes]) -> None:
    named = requests.items() if isinstance(requests, dict) else ((_shown(request), request) for request in requests)
    for name, request in named:
        assert f"{kind}: {name}" not in CASES, name
        CASES[f"{kind}: {name}"] = request


def _shown(part: bytes) -> str:
    text = repr(part)[2:-1]
    return text if len(text) <= 70 else f"{text[:60]}…{len(part)}"


def _get(target: bytes = b"/", fields: bytes = H, version: bytes = b"HTTP/1.1", method: bytes = b"GET") -> bytes:
    return b"%b %b %b\r\n%b\r\n" % (method, target, version, fields)


def _each(kind: str, template: bytes, parts: list[bytes]) -> None:
    _add(kind, {_shown(part): template.replace(b"@", part) for part in parts})


def _valid() -> Iterator[tuple[str, bytes]]:
    methods = (b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"TRACE", b"SEARCH", b"QUERY", b"PURGE")
    for method in methods:
        yield f"{method.decode()} without a body", _get(b"/a", method=method)
        yield f"{method.decode()} with a body", _get(b"/a?b=c", H + b"Content-Length: 5\r\n", method=method) + b"hello"
    for size in (0, 1, 100, 8190, 65535, 65536, 65537, 200_000):
        yield f"a body of {size}", _get(b"/", H + b"Content-Length: %d\r\n" % size, method=b"POST") + b"x" * size
    for size in (0, 1, 100, 70_000):
        chunks = b"%x\r\n%b\r\n" % (size, b"y" * size) if size else b""
        yield (
            f"a chunked body of {size}",
            _get(b"/", H + b"Transfer-Encoding: chunked\r\n", method=b"POST") + chunks + b"0\r\n\r\n",
        )
    yield "asks to close", _get(b"/", H + b"Connection: close\r\n")
    yield "a query of a JSON type", _get(b"/a?q=%7B%7D&r=", H + b"Content-Type: application/json\r\nContent-Length: 2\r\n") + b"{}"


def _answers() -> Iterator[tuple[str, bytes]]:
    for path in ROUTES:
        if path not in ("/process", "/large", "/endless", "/unbegun", "/wait-for-leave", "/read-while-client-stays", "/who-left"):
            for method in (b"GET", b"HEAD", b"POST"):
                body = b"Content-Length: 3\r\n" if method == b"POST" else b""
                request = _get(path.encode(), H + body, method=method) + (b"abc" if body else b"")
                yield f"{method.decode()} {path}", request
            yield f"HTTP/1.0 {path}", _get(path.encode(), H, b"HTTP/1.0")


_add("valid", dict(_valid()))
_add("answer", dict(_answers()))

_each("target", b"GET @ HTTP/1.1\r\n" + H + b"\r\n", [
    b"/", b"/a/b", b"/a?b", b"/a?", b"?", b"/?", b"/a#b", b"/a?b#c", b"#", b"//", b"//a", b"///a//b", b"//host/a", b"/%41", b"/%",
    b"/%4", b"/%zz", b"/%00", b"/%0d%0aX:1", b"/a;b=c", b"/a[b]", b"/[", b"//[", b"/a|b", b"/a\\b", b"\\", b"/a\"b", b"/<>", b"/{}",
    b"/^`", b"/\x7f", b"/\x80", b"/\xc3\xa9", b"/\xff", b"/a\x00b", b"/a\tb", b"/a b", b"/a\rb", b"/a\nb", b"/a\x0bb", b"*", b"a",
    b"a:1", b"a/b", b"http://a/b", b"http://a", b"http://", b"https://a/b?c#d", b"HTTP://A/", b"ftp://a/b", b"javascript:1", b"://a",
    b"/://a", b"/..", b"/../../etc/passwd", b"/.", b"", b"/" + b"a" * 4000, b"/" + b"a" * 4080, b"/" + b"a" * 4090,
    b"/" + b"a" * 8200, b"/?" + b"&".join(b"p%d=1" % n for n in range(600)),
])
_each("method", b"@ / HTTP/1.1\r\n" + H + b"\r\n", [
    b"get", b"Get", b"GeT", b"G", b"GE", b"GETT", b"FOO", b"M-SEARCH", b"A" * 20, b"A" * 21, b"G\x00T", b"G\tT", b"GET\t", b" GET",
    b"G(T", b"G,T", b"", b"CONNECT", b"PRI", b"GET:", b"G#T", b"\xc7ET", b"SOURCE", b"DESCRIBE", b"$GET", b"GET\x0b",
])
_add("method", {"CONNECT with authority": b"CONNECT a:443 HTTP/1.1\r\n" + H + b"\r\n", "OPTIONS *": _get(b"*", method=b"OPTIONS")})
_each("version", b"GET / @\r\n" + H + b"\r\n", [
    b"HTTP/1.0", b"HTTP/1.2", b"HTTP/1.9", b"HTTP/0.9", b"HTTP/2.0", b"HTTP/2", b"HTTP/3.0", b"http/1.1", b"Http/1.1", b"HTTP/1",
    b"HTTP/1.", b"HTTP/1.1.1", b"HTTP/01.1", b"HTTP/1.01", b"HTTP/11", b"HTTP /1.1", b"HTTP/1.1 ", b" HTTP/1.1", b"HTTP/1.1\t",
    b"HTTP/1,1", b"HTTP\\1.1", b"HTTPS/1.1", b"ICE/1.0", b"RTSP/1.0", b"", b"HTTP/1.1 x", b"HTTP/1.1\x00", b"HTTP/\xb11.1",
])
_each("line", b"@" + H + b"\r\n", [
    b"GET /\r\n", b"GET\r\n", b"\r\n", b"GET  / HTTP/1.1\r\n", b"GET /  HTTP/1.1\r\n", b"GET\t/\tHTTP/1.1\r\n", b"GET / HTTP/1.1\n",
    b"GET / HTTP/1.1\r", b"\r\nGET / HTTP/1.1\r\n", b"\r\n\r\nGET / HTTP/1.1\r\n", b"\nGET / HTTP/1.1\r\n", b"\rGET / HTTP/1.1\r\n",
    b" GET / HTTP/1.1\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n", b"\x00GET / HTTP/1.1\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\nGET / HTTP/1.1\r\n", b"\r\n\r\nPROXY", b"GET / HTTP/1.1\r\r\n", b"GET / HTTP/1.1 \r\n",
])
_each("host", b"GET / HTTP/1.1\r\n@\r\n", [
    b"", b"Host:\r\n", b"Host: \r\n", b"Host: a\r\nHost: a\r\n", b"Host: a\r\nHost: b\r\n", b"Host: a\r\nhost: b\r\n",
    b"Host: a, b\r\n", b"Host: a b\r\n", b"Host: a:80\r\n", b"Host: a:x\r\n", b"Host: [::1]:80\r\n", b"Host: user@a\r\n", b"Host: a/b\r\n",
    b"Host: a\x00b\r\n", b"Host: a#b\r\n", b"Host : a\r\n", b" Host: a\r\n", b"Host:\ta\r\n", b"Host:a\r\n", b"HOST: a\r\n", b"hOsT: a\r\n",
    b"Host: a\r\n b\r\n", b"X: 1\r\nHost: a\r\n", b"Host: \xc3\xa9\r\n", b"Host: a\t\r\n", b"Host: a \t \r\n", b"Host;a\r\n", b"Host\r\n",
    b"_Host: a\r\n", b"X-Host: a\r\n",
])
_each("field", b"GET / HTTP/1.1\r\n" + H + b"@\r\n\r\n", [
    b"X: 1", b"X:1", b"X:", b"X: ", b"X:\t1\t", b"X:  a  b  ", b"X : 1", b"X\t: 1", b" X: 1", b"\tX: 1", b": 1", b"X", b"X 1", b"X: 1\r\n 2",
    b"X: 1\r\n\t2", b"X: 1\r\n \r\nY: 2", b"X:\r\n 1", b"X: a\x00b", b"X: a\x01b", b"X: a\x7fb", b"X: a\x80b", b"X: \xc3\xa9", b"X: \xff", b"X: a\tb",
    b"X: a\rb", b"X: a\nb", b"X: a\r\rb", b"X: a\n", b"X: a\r", b"X\x00: 1", b"X\xe9: 1", b"X\xdf: 1", b"X(): 1", b"X@Y: 1", b"X_Y: 1",
    b"X-Y: 1\r\nX_Y: 2", b"X: 1\r\nX: 2", b"X: 1\r\nx: 2\r\nX: 3", b"Cookie: a=1\r\nCookie: b=2", b"Content-Type: a\r\nContent-Type: b",
    b"Content_Length: 5", b"Content-Length_: 5", b"Proxy: http://evil.example", b"Script-Name: /x", b"SCRIPT_NAME: /x", b"Path-Info: /x",
    b"X-Forwarded-For: 1.2.3.4", b"X-Forwarded-Proto: https", b"X-Forwarded-Proto: http", b"X-Forwarded-Proto: HTTPS",
    b"X-Forwarded-Proto: https\r\nX-Forwarded-Proto: https", b"X-Forwarded-Proto: https\r\nX-Forwarded-Proto: http",
    b"X-Forwarded-Proto: https\r\nX-Forwarded-Ssl: on", b"X-Forwarded-Proto: https\r\nX-Forwarded-Ssl: off", b"X-Forwarded-Protocol: ssl",
    b"Upgrade: websocket\r\nConnection: Upgrade", b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABk",
    b"Upgrade: websocket", b"Connection: keep-alive", b"Connection: Keep-Alive", b"Connection: CLOSE", b"Connection: close, x",
    b"Connection: keep-alive, close", b"Connection: x", b"Connection:", b"Connection: close\r\nConnection: keep-alive", b"Connection: TE\r\nTE: trailers",
    b"Keep-Alive: timeout=1", b"Proxy-Connection: close", b"TE: chunked", b"Trailer: X", b"Expect: 100-continue", b"Expect: 100-Continue",
    b"Expect: x", b"Expect:", b"Expect: 100-continue\r\nExpect: 100-continue", b"X: " + b"a" * 4000, b"X: " + b"a" * 8100, b"X: " + b"a" * 8200,
    b"X: " + b"a" * 70_000, b"\r\n".join(b"X%d: 1" % n for n in range(98)), b"\r\n".join(b"X%d: 1" % n for n in range(99)),
    b"\r\n".join(b"X%d: 1" % n for n in range(100)), b"\r\n".join(b"X%d: 1" % n for n in range(3000)), b"X" * 300 + b": 1",
    b"Authorization: Bearer x\r\nAuthorization: Bearer y", b"Range: bytes=0-1", b"If-Match: *", b"\x0bX: 1", b"X:\x0b1", b"X:\x0c1",
])
_each("length", b"POST /a HTTP/1.1\r\n" + H + b"@\r\n\r\nhello", [
    b"Content-Length: 5", b"Content-Length:5", b"content-length: 5", b"Content-Length: 05", b"Content-Length: 0000000005", b"Content-Length: +5",
    b"Content-Length: -5", b"Content-Length: 5 ", b"Content-Length: \t5", b"Content-Length: 5\t", b"Content-Length: 0x5", b"Content-Length: 5h",
    b"Content-Length: 5,5", b"Content-Length: 5, 5", b"Content-Length: 5;x", b"Content-Length:", b"Content-Length: \"5\"", b"Content-Length: 1_0",
    b"Content-Length: 5.0", b"Content-Length: 5e0", b"Content-Length: \xd9\xa5", b"Content-Length: \xb2", b"Content-Length: 18446744073709551621",
    b"Content-Length: 9999999999999999999999", b"Content-Length: 5\r\nContent-Length: 5", b"Content-Length: 5\r\nContent-Length: 6",
    b"Content-Length: 0\r\nContent-Length: 5", b"Content-Length: 5\r\ncontent-length: 0", b"Content-Length : 5", b"Content-Length\t: 5",
    b" Content-Length: 5", b"Content-Length: 5\r\n 5", b"Content-Length:\r\n 5", b"Content-Length: 5\x00", b"Content-Length: 5\x0b",
    b"Content-Length: 5 5", b"X: 1\nContent-Length: 5", b"Content-Length: 0", b"Content-Length: 4", b"Content-Length: 5 \r\n", b"Content Length: 5",
])
_BOTH = b"POST /a HTTP/1.1\r\n" + H + b"@\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
_each("coding", _BOTH, [
    b"Transfer-Encoding: chunked", b"transfer-encoding: chunked", b"Transfer-Encoding:chunked", b"Transfer-Encoding: Chunked",
    b"Transfer-Encoding: CHUNKED", b"Transfer-Encoding: chunked ", b"Transfer-Encoding:\tchunked", b"Transfer-Encoding: \x0bchunked",
    b"Transfer-Encoding: chunked\x00", b"Transfer-Encoding: xchunked", b"Transfer-Encoding: chunkedx", b"Transfer-Encoding: \"chunked\"",
    b"Transfer-Encoding: identity", b"Transfer-Encoding: gzip", b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding: chunked, gzip",
    b"Transfer-Encoding: chunked, chunked", b"Transfer-Encoding: chunked, identity", b"Transfer-Encoding: identity, chunked",
    b"Transfer-Encoding:", b"Transfer-Encoding: ,chunked", b"Transfer-Encoding: chunked;q=1", b"Transfer-Encoding : chunked",
    b" Transfer-Encoding: chunked", b"Transfer-Encoding\t: chunked", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", b"Transfer-Encoding: x\r\nTransfer-Encoding: chunked",
    b"Transfer-Encoding: Deflate\r\nTransfer-Encoding: chunked",
    b"Transfer-Encoding:\r\n chunked", b"Transfer-Encoding: chunked\r\n x", b"Transfer_Encoding: chunked", b"TransferEncoding: chunked",
    b"Transfer-Encoding: chunked\r\nContent-Length: 5", b"Content-Length: 5\r\nTransfer-Encoding: chunked",
    b"Content-Length: 15\r\nTransfer-Encoding: identity", b"Content-Length: 15\r\nTransfer-Encoding : chunked",
    b"Content-Length: 15\r\nTransfer-Encoding: xchunked", b"Content-Length: 15\r\n Transfer-Encoding: chunked",
    b"Content-Length: 15\r\nX: a\nTransfer-Encoding: chunked", b"Content-Length: 15\r\nX: a\rTransfer-Encoding: chunked",
    b"Content-Length: 15\r\nTransfer_Encoding: chunked", b"Content-Length: 15\r\nX: 1\r\n\tTransfer-Encoding: chunked",
    b"Content-Length: 15\r\nTransfer-Encoding:\x0bchunked", b"Content-Length: 15\r\nTransfer-Encoding: ch\x00unked",
])
_add("coding", {"HTTP/1.0 chunked": b"POST /a HTTP/1.0\r\n" + H + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"})
_each("chunk", b"POST /a HTTP/1.1\r\n" + H + b"Transfer-Encoding: chunked\r\n\r\n@", [
    b"5\r\nhello\r\n0\r\n\r\n", b"05\r\nhello\r\n0\r\n\r\n", b"5 \r\nhello\r\n0\r\n\r\n", b" 5\r\nhello\r\n0\r\n\r\n", b"5\t\r\nhello\r\n0\r\n\r\n",
    b"+5\r\nhello\r\n0\r\n\r\n", b"-5\r\nhello\r\n0\r\n\r\n", b"0x5\r\nhello\r\n0\r\n\r\n", b"5h\r\nhello\r\n0\r\n\r\n", b"A\r\nhellohello\r\n0\r\n\r\n",
    b"a\r\nhellohello\r\n0\r\n\r\n", b"5;x\r\nhello\r\n0\r\n\r\n", b"5;x=y\r\nhello\r\n0\r\n\r\n", b"5; x=\"y\"\r\nhello\r\n0\r\n\r\n", b"5;x\ny\r\nhello\r\n0\r\n\r\n",
    b"5;x\ry\r\nhello\r\n0\r\n\r\n", b"5;\r\nhello\r\n0\r\n\r\n", b"5;\x00\r\nhello\r\n0\r\n\r\n", b"5\nhello\r\n0\r\n\r\n", b"5\r\nhello\n0\r\n\r\n",
    b"5\r\nhello\r\n0\n\r\n", b"5\r\nhello\r\n0\r\n\n", b"5\rhello\r\n0\r\n\r\n", b"5\r\nhello0\r\n\r\n", b"5\r\nhelloxx0\r\n\r\n", b"5\r\nhell\r\n0\r\n\r\n",
    b"5\r\nhelloo\r\n0\r\n\r\n", b"\r\n5\r\nhello\r\n0\r\n\r\n", b"5\r\nhello\r\n\r\n0\r\n\r\n", b"5\r\nhello\r\n00\r\n\r\n", b"5\r\nhello\r\n0 \r\n\r\n",
    b"5\r\nhello\r\n0\r\nX: 1\r\n\r\n", b"5\r\nhello\r\n0\r\nContent-Length: 5\r\n\r\n", b"5\r\nhello\r\n0\r\nHost: b\r\n\r\n", b"5\r\nhello\r\n0\r\nX\r\n\r\n",
    b"5\r\nhello\r\n0\r\n X: 1\r\n\r\n", b"5\r\nhello\r\n0\r\nX: 1\n\r\n", b"FFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n", b"10000000000000005\r\nhello\r\n0\r\n\r\n",
    b"5" + b"0" * 40 + b"\r\nhello\r\n0\r\n\r\n", b"5;" + b"x" * 20_000 + b"\r\nhello\r\n0\r\n\r\n", b"\r\n", b"x\r\n", b"5_0\r\nhello\r\n0\r\n\r\n",
    b"1\r\nh\r\n1\r\ne\r\n1\r\nl\r\n1\r\nl\r\n1\r\no\r\n0\r\n\r\n", b"5\r\nhello\r\n0\r\n\r\n" + b"GET /smuggled HTTP/1.1\r\n" + H + b"\r\n",
])
_each("end of line", b"@", [
    b"GET / HTTP/1.1\nHost: a\n\n", b"GET / HTTP/1.1\r\nHost: a\n\n", b"GET / HTTP/1.1\r\nHost: a\r\n\n", b"GET / HTTP/1.1\rHost: a\r\r",
    b"GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", b"GET / HTTP/1.1\n\rHost: a\n\r\n\r", b"GET / HTTP/1.1\r\nHost: a\nX: 1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\rX: 1\r\n\r\n", b"GET / HTTP/1.1\r\n\r\nHost: a\r\n\r\n", b"GET / HTTP/1.1\r\n \r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\n\t\r\n\r\n", b"GET / HTTP/1.1\x0d\x0aHost: a\x85\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\x0b\r\n\r\n",
])


def _pipelined() -> Iterator[tuple[str, bytes]]:
    good, last = _get(b"/1"), _get(b"/2", H + b"Connection: close\r\n")
    post = _get(b"/p", H + b"Content-Length: 5\r\n", method=b"POST") + b"hello"
    chunked = _get(b"/c", H + b"Transfer-Encoding: chunked\r\n", method=b"POST") + b"5\r\nhello\r\n0\r\n\r\n"
    yield "two", good + good
    yield "thirty", good * 30
    yield "thirty with bodies", post * 30
    yield "close in the middle", good + last + good
    yield "plain, chunked, plain", post + chunked + post + good
    yield "plain, then bad", good + b"BAD\r\n\r\n" + good
    yield "plain, then HTTP/1.0", good + _get(b"/0", H, b"HTTP/1.0") + good
    yield "plain, then absolute form", good + _get(b"http://a/b") + good
    yield "plain, then Expect", good + _get(b"/e", H + b"Expect: 100-continue\r\nContent-Length: 5\r\n", method=b"POST") + b"hello" + good
    yield "a body that looks like a request", _get(b"/", H + b"Content-Length: %d\r\n" % len(good), method=b"POST") + good + good
    yield "GET with a body that looks like a request", _get(b"/", H + b"Content-Length: %d\r\n" % len(good)) + good + good
    yield "a length that is too short", _get(b"/", H + b"Content-Length: 2\r\n", method=b"POST") + b"hello" + good
    yield "both lengths, then a request", _BOTH.replace(b"@", b"Content-Length: 5\r\nTransfer-Encoding: chunked") + good
    yield "an empty line between", good + b"\r\n" + good
    yield "two empty lines between", good + b"\r\n\r\n" + good
    yield "a body that is not read", _get(b"/leave-body", H + b"Content-Length: 5\r\n", method=b"POST") + b"hello" + good
    yield "a chunked body that is not read", chunked.replace(b"/c", b"/leave-body") + good
    yield "a large body, then a request", _get(b"/", H + b"Content-Length: 100000\r\n", method=b"POST") + b"z" * 100_000 + good
    yield "HEAD, then a request", _get(b"/h", method=b"HEAD") + good
    yield "204, then a request", _get(b"/nothing") + good
    yield "a stream, then a request", _get(b"/stream") + good
    yield "a failure, then a request", _get(b"/fail") + good


_add("pipelined", dict(_pipelined()))
_WHOLE = b"POST /cut?x=1 HTTP/1.1\r\n" + H + b"Content-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"
_add("cut off", {f"after {n} bytes": _WHOLE[:n] for n in range(0, len(_WHOLE), 3)})
_add("cut off", {"long before its length": _get(b"/", H + b"Content-Length: 4000\r\n", method=b"POST") + b"hello"})
_CHUNKED = b"POST /cut HTTP/1.1\r\n" + H + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
_add("cut off, chunked", {f"after {n} bytes": _CHUNKED[:n] for n in range(len(_CHUNKED) - 22, len(_CHUNKED), 2)})
