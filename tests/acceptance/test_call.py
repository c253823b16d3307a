"""`ledgerd call` as a process: on a real server what it prints, on a scripted one what it makes of faults."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from service.cli import main
from tests.http_client.scripted import Answering, answer, hang, lose, problem, scripted
from tests.serving import LEDGERD, Serve, clean_env, free_port, ledgerd, wait_until

TRANSFER = {"from_account_id": 1, "to_account_id": 2, "amount": 5}


def call(url: str, *arguments: str, key: str = "a key", told: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    """Run the command to its end; `told` is its standard input."""
    return subprocess.run(
        [*LEDGERD, "call", *arguments], env=clean_env(LEDGERD_SERVER=url, LEDGERD_KEY=key), input=told, capture_output=True,
        timeout=60, check=False,
    )


def test_a_ledger_is_used_from_a_shell(served: Serve, payer_key: str, tmp_path: Path) -> None:
    """Bodies from the command line, a file and standard input; answers as they come; lists whole; headers both ways."""
    url = f"http://127.0.0.1:{served.port}"
    posted = call(url, "post", "/api/transfers", json.dumps(TRANSFER), "--idempotency-key", "order 1", key=payer_key)
    assert (posted.returncode, posted.stderr) == (0, b"")
    again = tmp_path / "transfer.json"
    again.write_text(json.dumps(TRANSFER))
    repeated = call(url, "POST", "/api/transfers", f"@{again}", "--idempotency-key", "order 1", key=payer_key)
    assert repeated.stdout == posted.stdout, "the key makes it the same transfer"
    made = call(url, "POST", "/api/accounts", "-", key=payer_key, told=b'{"asset": "EUR/2"}')
    assert json.loads(made.stdout)["asset"] == "EUR/2"

    listed = call(url, "GET", "/api/accounts?limit=1", "--pages", key=payer_key)
    assert [json.loads(line)["id"] for line in listed.stdout.splitlines()] == [1, 2, 3]
    (tmp_path / "key").write_text(f"{payer_key}\n")
    by_file = ("--key-file", str(tmp_path / "key"), "--include")
    read = call(url, "GET", "/api/accounts/2", *by_file, key="not this one")
    head, body = read.stdout.split(b"\n\n", 1)
    assert head.startswith(b"200\n")
    assert json.loads(body)["balance"] == 5
    tag = re.search(r'etag: (".*")', head.decode())
    assert tag is not None
    freeze = ("PATCH", "/api/accounts/2", '{"status": "frozen"}', "--header")
    assert call(url, *freeze, 'If-Match: "77"', key=payer_key).returncode == 1
    assert call(url, *freeze, f"If-Match: {tag[1]}", key=payer_key).returncode == 0

    refused = call(url, "POST", "/api/transfers", json.dumps(TRANSFER | {"amount": "all"}), key=payer_key)
    assert (refused.returncode, refused.stdout) == (1, b"")
    lines = refused.stderr.decode().splitlines()
    assert lines[0].startswith("ledgerd: invalid_input: ")
    assert lines[1].startswith("ledgerd:   amount: expected a whole number")
    assert " request " in lines[2]


@pytest.mark.parametrize(
    ("given", "status", "told"),
    [
        (problem(409, "insufficient_funds"), 1, "insufficient_funds: "),
        (problem(503, "overloaded"), 3, "overloaded: "),
        (lose, 4, "outcome_unknown: .*send it again with the idempotency key 'order 1'"),
    ],
)
def test_the_status_says_what_became_of_it(given: Answering, status: int, told: str) -> None:
    """Refused, not done yet, or not known: a script can tell them apart."""
    with scripted(given) as server:
        done = call(server.url, "POST", "/api/transfers", "{}", "--idempotency-key", "order 1", "--timeout", "1s")
        assert (done.returncode, done.stdout) == (status, b"")
        assert re.match(f"ledgerd: {told}", done.stderr.decode())
        assert {asked.headers["idempotency-key"] for asked in server.asked} == {'"order 1"'}


def test_another_server_is_asked_where_one_is_not_there() -> None:
    """Both are in LEDGERD_SERVER."""
    with scripted(answer(200, {"id": 1})) as server:
        done = call(f"http://127.0.0.1:{free_port()}, {server.url}", "GET", "/api/accounts/1")
        assert (done.returncode, done.stdout) == (0, b'{"id": 1}\n')


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["GET", "api/accounts"], "a path that begins with /"),
        (["POST", "/api/accounts", "{asset"], "the argument: The body is not JSON: Expecting"),
        (["POST", "/api/accounts", '{"asset": 1, "asset": 2}'], "The member 'asset' is given more than once"),
        (["POST", "/api/accounts", '{"asset": NaN}'], "NaN is no JSON number"),
        (["POST", "/api/accounts", "@/nowhere/body.json"], "/nowhere/body.json"),
        (["GET", "/api/accounts", "--key-file", "/nowhere/key"], "/nowhere/key"),
        (["GET", "/api/accounts", "--server", "ftp://127.0.0.1"], "the URL of a server"),
        (["GET", "/api/accounts", "--idempotency-key", "a"], "takes no idempotency key"),
        (["POST", "/api/accounts", "{}", "--pages"], "--pages goes with GET"),
        (["GET", "/api/accounts", "--header", "If-Match"], "expected a name, a colon and a value"),
        (["GET", "/api/accounts", "--header", "A: b\r\nC: d"], "expected a name, a colon and a value"),
        (["GET", "/api/accounts", "--timeout", "0s"], "from 1s"),
        (["BREW", "/api/accounts"], "invalid choice"),
    ],
)
def test_a_wrong_call_sends_nothing(
    arguments: Sequence[str], told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Status 2 and what would be right."""
    monkeypatch.setenv("LEDGERD_KEY", "a key")
    with scripted(answer(200, {})) as server:
        monkeypatch.setenv("LEDGERD_SERVER", server.url)
        try:
            status = main(["call", *arguments])
        except SystemExit as ended:  # argparse's way
            status = ended.code
        assert (status, server.asked) == (2, [])
    out, err = capsys.readouterr()
    assert out == ""
    assert told in err


def test_a_key_is_needed_and_never_shown() -> None:
    """Without one it says where from; what is none is not printed."""
    done = ledgerd("call", "GET", "/api/accounts")
    assert (done.returncode, done.stdout) == (2, "")
    assert "LEDGERD_KEY" in done.stderr
    done = ledgerd("call", "GET", "/api/accounts", LEDGERD_KEY="ldg_secret\nkey")
    assert done.returncode == 2
    assert "secret" not in done.stderr


def test_a_list_is_expected_where_pages_are_wanted() -> None:
    """And no traceback."""
    with scripted(answer(200, {"id": 1})) as server:
        done = call(server.url, "GET", "/api/accounts/1", "--pages")
        assert (done.returncode, done.stderr) == (2, b"ledgerd: /api/accounts/1 does not answer a list with pages\n")


def test_ctrl_c_tells_the_key_to_go_on_with() -> None:
    """Status 130: the transfer may have taken effect; the key that was sent is the one that is told."""
    with scripted(hang) as server:
        environment = clean_env(LEDGERD_SERVER=server.url, LEDGERD_KEY="a key")
        command = [*LEDGERD, "call", "POST", "/api/transfers", json.dumps(TRANSFER)]
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        wait_until(lambda: len(server.asked) == 1, 30)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
        key = server.asked[0].headers["idempotency-key"].strip('"')
        assert (process.returncode, out) == (130, "")
        assert err == f"ledgerd: interrupted; it may have taken effect, or not: send it again with --idempotency-key {key}\n"


def test_a_terminal_gets_json_in_lines() -> None:
    """For people to read; a program gets what the server sent."""
    ours, theirs = pty.openpty()
    with scripted(answer(200, {"id": 1, "name": "Zoë"})) as server:
        environment = clean_env(LEDGERD_SERVER=server.url, LEDGERD_KEY="a key")
        subprocess.run([*LEDGERD, "call", "GET", "/api/users/1"], env=environment, stdout=theirs, timeout=30, check=True)
    os.close(theirs)
    assert os.read(ours, 65_536).decode() == '{\r\n  "id": 1,\r\n  "name": "Zoë"\r\n}\r\n'
    os.close(ours)


@pytest.mark.parametrize(("method", "status"), [("POST", 4), ("GET", 1)])
def test_an_answer_that_cannot_be_printed_is_no_refusal(method: str, status: int) -> None:
    """What a POST has done is not undone by a full disk: the status may not say that nothing was."""
    with scripted(answer(200, {"id": 1})) as server, open("/dev/full", "wb") as full:
        done = subprocess.run(
            [*LEDGERD, "call", method, "/api/accounts", *(["{}"] if method == "POST" else [])],
            env=clean_env(LEDGERD_SERVER=server.url, LEDGERD_KEY="a key"), stdout=full, stderr=subprocess.PIPE, timeout=60,
            check=False,
        )
    assert (done.returncode, b"standard output cannot be written" in done.stderr) == (status, True), done.stderr
