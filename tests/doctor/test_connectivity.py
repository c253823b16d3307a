"""Each way in which a connection to the database can be wrong, brought about for real."""

from __future__ import annotations

import subprocess

import pytest

from service.config import Config
from service.doctor import connectivity
from service.doctor.subject import Subject
from service.doctor.verdict import State
from service.repository.embedded import EmbeddedPostgres
from service.repository.inspection import Inspection
from service.repository.queries import sql_folder
from tests.conftest import TestServer
from tests.doctor.conftest import Bouncer, Breakable, Look, ask, short_folder, states
from tests.proxy import Proxy

ALL = [examination.ask for examination in connectivity.GROUP.examinations]
OK, WARNING, PROBLEM = [State.OK], [State.WARNING], [State.PROBLEM]


@pytest.mark.parametrize("examination", ALL, ids=lambda examination: examination.__name__)
def test_a_good_server_is_ok(look: Look, database_url: str, examination: object) -> None:
    """All of them, on the server of the run."""
    assert states(look(examination, database_url)) == OK


def test_a_server_that_cannot_be_reached_is_a_problem(database_url: str) -> None:
    """With the driver's reason, and without the password."""
    with Proxy(database_url) as proxy:
        proxy.refusing = True
        url = proxy.url.replace("ledgerd@", "ledgerd:hunter2@", 1)
        inspection = Inspection(url, sql_folder())
        (verdict,) = ask(connectivity.connection, Subject(config=Config(), inspection=inspection))
        inspection.close()
    assert verdict.state is State.PROBLEM
    assert "cannot connect to postgresql://ledgerd:***@127.0.0.1" in verdict.detail
    assert "hunter2" not in verdict.detail
    assert "pg_hba.conf" in verdict.hint


def test_no_database_is_told_and_what_to_do() -> None:
    """A database that does not run is no fault of the settings."""
    subject = Subject(config=Config(), no_database="the embedded PostgreSQL does not run")
    (verdict,) = ask(connectivity.connection, subject)
    assert (verdict.state, verdict.detail) == (State.WARNING, "the embedded PostgreSQL does not run")


def test_a_far_database_is_a_warning(look: Look, database_url: str) -> None:
    """Twenty milliseconds each way."""
    with Proxy(database_url) as proxy:
        proxy.latency_s = 0.02
        (verdict,) = look(connectivity.round_trip, proxy.url)
    assert verdict.state is State.WARNING
    assert float(verdict.detail.split()[0]) >= 40


def test_a_lost_connection_is_made_again(look: Look, database_url: str) -> None:
    """What cut one examination off does not reach the next."""
    with Proxy(database_url) as proxy:
        inspection = Inspection(proxy.url, sql_folder())
        inspection.connect()
        subject = Subject(config=Config(), inspection=inspection)
        proxy.cut_all()
        with pytest.raises(Exception, match=r"database says|cannot connect"):
            ask(connectivity.primary, subject)
        assert states(ask(connectivity.primary, subject)) == OK
        inspection.close()


def test_a_standby_is_a_problem(look: Look, standby: EmbeddedPostgres) -> None:
    """It takes no writes."""
    (verdict,) = look(connectivity.primary, standby.url)
    assert verdict.state is State.PROBLEM
    assert "standby" in verdict.detail


def test_a_database_that_is_read_only_is_a_problem(look: Look, test_server: TestServer, database_url: str) -> None:
    """By a setting of the database."""
    name = database_url.partition("?")[0].rpartition("/")[2]
    test_server.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    (verdict,) = look(connectivity.primary, database_url)
    assert verdict.state is State.PROBLEM
    assert "default_transaction_read_only" in verdict.detail


@pytest.mark.parametrize("name", ["fsync", "full_page_writes", "synchronous_commit"])
def test_a_server_that_may_forget_is_a_problem(look: Look, breakable: Breakable, name: str) -> None:
    """One that really runs with the setting; the hint names it."""
    with breakable.setting(name, "off"):
        (verdict,) = look(connectivity.durability, breakable.url)
    assert verdict.state is State.PROBLEM
    assert verdict.detail.startswith(f"{name} off")
    assert f"ALTER SYSTEM SET {name} = on" in verdict.hint
    assert states(look(connectivity.durability, breakable.url)) == OK


def test_synchronous_commit_of_the_database_counts(look: Look, test_server: TestServer, database_url: str) -> None:
    """The setting that this connection gets, wherever it comes from."""
    name = database_url.partition("?")[0].rpartition("/")[2]
    test_server.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
    assert states(look(connectivity.durability, database_url)) == PROBLEM


def test_another_encoding_is_a_problem(look: Look, test_server: TestServer) -> None:
    """Half of the world's names cannot be stored there."""
    test_server.execute("CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C' OWNER ledgerd")
    try:
        (verdict,) = look(connectivity.encoding, test_server.url("latin"))
    finally:
        test_server.execute("DROP DATABASE latin WITH (FORCE)")
    assert (verdict.state, verdict.detail) == (State.PROBLEM, "the database is in LATIN1")


def test_tcp_without_tls_is_a_warning(look: Look, database_url: str) -> None:
    """But not on loopback. (The name is that of another host; the address keeps the packets here.)"""
    with Proxy(database_url) as proxy:
        assert states(look(connectivity.encryption, proxy.url)) == OK
        url = proxy.url.replace("127.0.0.1", "database.example", 1) + "&hostaddr=127.0.0.1"
        (verdict,) = look(connectivity.encryption, url)
    assert verdict.state is State.WARNING
    assert "sslmode=verify-full" in verdict.hint


def test_tls_is_seen(look: Look, bouncer: Bouncer, database_url: str) -> None:
    """With a real certificate, and that nobody checks it."""
    with short_folder() as folder:
        key, certificate = folder / "key.pem", folder / "certificate.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1",
             "-subj", "/CN=localhost", "-keyout", key, "-out", certificate],
            check=True, capture_output=True,
        )
        key.chmod(0o644)  # for the user who runs pgbouncer
        tls = {"client_tls_sslmode": "require", "client_tls_key_file": str(key), "client_tls_cert_file": str(certificate)}
        (verdict,) = look(connectivity.encryption, bouncer(database_url, "session", **tls))
    assert verdict.state is State.OK
    assert verdict.detail == "TLS, without a check of the server's certificate"


def test_a_pooler_by_transaction_is_a_problem(look: Look, bouncer: Bouncer, database_url: str) -> None:
    """It moves statements between sessions: time-outs, prepared statements and notifications are lost."""
    url = bouncer(database_url, "transaction")
    for examination in (connectivity.session, connectivity.notifications, connectivity.prepared_statements):
        (verdict,) = look(examination, url)
        assert verdict.state is State.PROBLEM, examination
        assert "pool_mode = session" in verdict.hint


def test_a_pooler_by_session_is_fine(look: Look, bouncer: Bouncer, database_url: str) -> None:
    """As docs/operations.md asks for."""
    url = bouncer(database_url, "session")
    for examination in ALL:
        assert states(look(examination, url)) == OK, examination
