"""`ledgerd import` and `ledgerd export`: files in and out, straight on the database."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import psycopg
import pytest

from service.api.importing import LINES_IN_A_CHUNK
from service.commands.command import INTERRUPTED
from service.commands.imports import SOME_REFUSED
from tests.serving import LEDGERD, clean_env, ledgerd, wait_until

FIRST = '{"from_account_id": 1, "to_account_id": 2, "amount": 100, "reference": "a \\"b\\", c"}\n'
SECOND = '{"from_account_id": 2, "to_account_id": 3, "amount": 30}\n'
REFUSED = '{"from_account_id": 3, "to_account_id": 2, "amount": 31}\n'


@pytest.fixture
def db(database_url: str) -> psycopg.Connection:
    """Ledger `main` with three accounts; the first has no floor."""
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute("INSERT INTO ledgers (name) VALUES ('main')")
        for floor in (None, 0, 0):
            conn.execute("INSERT INTO accounts (ledger_id, asset, min_balance) VALUES (1, 'USD/2', %s)", (floor,))
        yield conn


def count(db: psycopg.Connection) -> int:
    """How many transfers there are."""
    return int(db.execute("SELECT count(*) FROM transfers").fetchone()[0])


def run(database_url: str, tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command, whose settings are none of this machine's."""
    return ledgerd(*arguments, DATABASE_URL=database_url, LEDGERD_DATA_DIR=str(tmp_path / "data"))


def test_a_file_is_imported_once(database_url: str, tmp_path: Path, db: psycopg.Connection) -> None:
    """By its name; the report says what became of it, and standard error nothing where it is no terminal."""
    file = tmp_path / "pay.ndjson"
    file.write_text(FIRST + SECOND)
    for told in ("2 lines: 2 posted, 0 replayed, 0 refused", "2 lines: 0 posted, 2 replayed, 0 refused"):
        done = run(database_url, tmp_path, "import", str(file), "--ledger", "main")
        assert (done.returncode, done.stdout.strip(), done.stderr) == (0, told, "")
    done = run(database_url, tmp_path, "import", str(file), "--ledger", "main", "--name", "another")
    assert (done.returncode, count(db)) == (0, 4)
    file.write_text(SECOND + FIRST)
    done = run(database_url, tmp_path, "import", str(file), "--ledger", "main")
    assert (done.returncode, count(db)) == (1, 4)
    assert "This name was used for other lines" in done.stderr


def test_refused_lines_are_told_with_their_numbers(database_url: str, tmp_path: Path, db: psycopg.Connection) -> None:
    """As a table and as JSON, with a status of their own."""
    file = tmp_path / "pay.csv"
    file.write_text("from_account_id,to_account_id,amount\n1,2,5\n2,1,9\n\n")
    done = run(database_url, tmp_path, "import", str(file), "--ledger", "main")
    assert done.returncode == SOME_REFUSED
    assert done.stdout.splitlines()[0] == "3 lines: 1 posted, 0 replayed, 2 refused"
    assert [row.split()[:3] for row in done.stdout.splitlines()[2:]] == [
        ["3", "insufficient_funds", "amount"], ["4", "malformed_request", "-"],
    ]
    done = run(database_url, tmp_path, "import", str(file), "--ledger", "main", "--json")
    assert (done.returncode, [one["line"] for one in json.loads(done.stdout)["refusals"]]) == (SOME_REFUSED, [3, 4])


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (("import", "nothing.csv", "--ledger", "main"), 1, "nothing.csv cannot be read"),
        (("import", ".", "--ledger", "main", "--format", "csv", "--name", "n"), 1, "is a folder"),
        (("import", "-", "--ledger", "main", "--format", "csv"), 2, "--name"),
        (("import", "pay.txt", "--ledger", "main"), 2, "--format"),
        (("import", "pay.csv"), 2, "--ledger"),
        (("import", "/proc/self/mem", "--ledger", "main", "--format", "csv"), 1, "/proc/self/mem cannot be read: Input"),
        (("import", "b\udcff.csv", "--ledger", "main"), 2, "the name of b\\xff.csv is not UTF-8: give one with --name"),
        (("import", "a.csv", "--name", "\udcff", "--ledger", "main"), 2, "argument --name: expected UTF-8"),
        (("export", "--reference", "\udcff"), 2, "argument --reference: expected UTF-8"),
        (("key", "revoke", "\udcff"), 2, "argument id: expected UTF-8"),
        (("import", "/dev/null", "--ledger", "other", "--format", "ndjson"), 1, "no ledger 'other'"),
        (("export", "--ledger", "other"), 1, "no ledger 'other'"),
        (("import", "", "--ledger", "main"), 2, "argument FILE: expected a name, not an empty one"),
        (("import", "-", "--ledger", "main", "--name", "n"), 2, "give --format ndjson or csv"),
        (("export", "--from", "yesterday"), 2, "from: expected a time"),
        (("export", "--account-id", "0"), 2, "account_id: expected a whole number"),
        (("export", "--reference", ""), 2, "reference: expected 1 to 255 characters"),
        (("export", "-o", ""), 2, "argument -o/--output: expected a name, not an empty one"),
        (("export", "-o", "/nowhere/x"), 1, "cannot be written"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, tuple) else "",
)
def test_what_is_wrong_is_told(
    database_url: str, tmp_path: Path, db: psycopg.Connection, arguments: tuple[str, ...], status: int, told: str
) -> None:
    """In a line of standard error."""
    done = run(database_url, tmp_path, *arguments)
    assert (done.returncode, done.stdout) == (status, "")
    assert told in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("export --format csv > /dev/full", "standard output cannot be written: No space left on device"),
        ("export --format csv >&-", "standard output cannot be written: Bad file descriptor"),
        ("import pay.ndjson --ledger main > /dev/full", "standard output cannot be written: No space left on device"),
        ("import - --ledger main --name n --format csv <&-", "standard input cannot be read: Bad file descriptor"),
        ("ledger list --json >&-", "standard output cannot be written: Bad file descriptor"),
    ],
)
def test_a_stream_that_fails_or_is_closed_is_told(
    database_url: str, tmp_path: Path, db: psycopg.Connection, how: str, told: str
) -> None:
    """A line and status 1, whatever else was done."""
    (tmp_path / "pay.ndjson").write_text(FIRST)
    done = subprocess.run(
        ["sh", "-c", f'"$0" -m service {how}', LEDGERD[0]], capture_output=True, text=True, timeout=60, check=False,
        env=clean_env(DATABASE_URL=database_url, LEDGERD_DATA_DIR=str(tmp_path / "data")), cwd=tmp_path,
    )
    assert (done.returncode, done.stderr) == (1, f"ledgerd: {told}\n")
    assert count(db) == how.startswith("import pay")


@pytest.mark.parametrize("form", ["ndjson", "csv"])
def test_what_is_exported_can_be_imported(database_url: str, tmp_path: Path, db: psycopg.Connection, form: str) -> None:
    """To a file and to standard output alike; nothing but the file is left."""
    file, folder = tmp_path / "in.ndjson", tmp_path / "out"
    folder.mkdir()
    file.write_text(FIRST + SECOND)
    run(database_url, tmp_path, "import", str(file), "--ledger", "main")
    out = folder / f"out.{form}"
    out.write_text("what was there before")
    assert run(database_url, tmp_path, "export", "-o", str(out)).returncode == 0
    assert [path.name for path in folder.iterdir()] == [out.name]
    shown = subprocess.run(
        [*LEDGERD, "export", "--ledger", "main", "--format", form],
        env=clean_env(DATABASE_URL=database_url), capture_output=True, timeout=60, check=True,
    )
    assert shown.stdout == out.read_bytes()
    done = run(database_url, tmp_path, "import", str(out), "--ledger", "main", "--json")
    assert (done.returncode, json.loads(done.stdout)["posted"]) == (0, 2)
    rows = db.execute("SELECT from_account_id, to_account_id, amount, reference FROM transfers ORDER BY id").fetchall()
    assert rows[:2] == rows[2:]
    one = run(database_url, tmp_path, "export", "--account-id", "3", "--format", "ndjson")
    assert [json.loads(line)["amount"] for line in one.stdout.splitlines()] == [30, 30]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_import_that_is_interrupted_goes_on(
    database_url: str, tmp_path: Path, db: psycopg.Connection, number: signal.Signals
) -> None:
    """Ctrl-C, or a stop, ends it though its input is silent, and it says so; the same again does the rest."""
    lines = [f'{{"from_account_id": 1, "to_account_id": 2, "amount": {n + 1}}}\n' for n in range(3 * LINES_IN_A_CHUNK)]
    command = [*LEDGERD, "import", "-", "--ledger", "main", "--name", "n", "--format", "ndjson"]
    process = subprocess.Popen(
        command, env=clean_env(DATABASE_URL=database_url, LEDGERD_DATA_DIR=str(tmp_path / "data")), stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )
    assert process.stdin is not None
    process.stdin.write("".join(lines[: 2 * LINES_IN_A_CHUNK + 1]))
    process.stdin.flush()
    wait_until(lambda: count(db) == 2 * LINES_IN_A_CHUNK, 30)
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (INTERRUPTED, "")
    assert "the same command does the rest" in err
    assert "Traceback" not in err
    done = subprocess.run(
        command, env=clean_env(DATABASE_URL=database_url), input="".join(lines), capture_output=True, text=True, timeout=60,
        check=False,
    )
    told = f"{len(lines)} lines: {LINES_IN_A_CHUNK} posted, {2 * LINES_IN_A_CHUNK} replayed, 0 refused"
    assert (done.returncode, done.stdout.strip()) == (0, told), done.stderr
    assert count(db) == len(lines)


def test_an_import_posts_no_faster_than_it_may(database_url: str, tmp_path: Path, db: psycopg.Connection) -> None:
    """After the first chunk a line a second at most: the second one is not there for a minute and a half."""
    file = tmp_path / "pay.ndjson"
    file.write_text("".join(FIRST for _ in range(2 * LINES_IN_A_CHUNK)))
    process = subprocess.Popen(
        [*LEDGERD, "import", str(file), "--ledger", "main", "--rate", "1"],
        env=clean_env(DATABASE_URL=database_url, LEDGERD_DATA_DIR=str(tmp_path / "data")), stderr=subprocess.PIPE, text=True,
    )
    wait_until(lambda: count(db) == LINES_IN_A_CHUNK, 30)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == INTERRUPTED, err
    assert count(db) == LINES_IN_A_CHUNK
    done = run(database_url, tmp_path, "import", str(file), "--ledger", "main", "--rate", "1000000")
    assert done.stdout.strip() == "200 lines: 100 posted, 100 replayed, 0 refused", done.stderr
    done = run(database_url, tmp_path, "import", str(file), "--ledger", "main", "--rate", "0")
    assert done.returncode == 2
    assert "expected a whole number from 1" in done.stderr


def test_refused_lines_spend_the_name_as_well(database_url: str, tmp_path: Path, db: psycopg.Connection) -> None:
    """A chunk of which nothing could be posted is no room for other lines: they may be those of another name by now."""
    file = tmp_path / "pay.csv"
    head, wrong, right = "from_account_id,to_account_id,amount\n", "1,2,1.00\n", "1,2,1\n"
    file.write_text(head + wrong * LINES_IN_A_CHUNK + right * LINES_IN_A_CHUNK)
    for words in (("posted", "replayed"), ("replayed", "posted")):
        done = run(database_url, tmp_path, "import", str(file), "--ledger", "main", "--json")
        report = json.loads(done.stdout)
        assert (report["lines"], report[words[0]], report[words[1]], report["refused"]) == (200, 100, 0, 100)
    file.write_text(head + right * 2 * LINES_IN_A_CHUNK)
    done = run(database_url, tmp_path, "import", str(file), "--ledger", "main")
    assert (done.returncode, count(db)) == (1, LINES_IN_A_CHUNK)
    assert "This name was used for other lines" in done.stderr
