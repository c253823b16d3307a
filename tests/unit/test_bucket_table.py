"""All buckets of a host in one file: what is found, what is forgotten, and what a broken file does."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.errors import ConfigurationError
from service.limits import file as bucket_file
from service.limits.bucket import SECOND_NS, Limit
from service.limits.file import FIRST_SET, HEADER, NAME, WAYS, BucketFile
from service.limits.limiter import Limiter
from service.limits.table import POST_WITHIN_NS, Table

SLOW = Limit(1, 3)
LARGE = Limit(1000, 4000)
Open = Callable[..., Table]


class Now:
    """A clock that is turned by hand, in nanoseconds."""

    def __init__(self) -> None:
        self.ns = 50 * SECOND_NS

    def __call__(self) -> int:
        return self.ns


@pytest.fixture
def now() -> Now:
    """Turned by hand."""
    return Now()


@pytest.fixture
def opened(tmp_path: Path, now: Now) -> Iterator[Open]:
    """Opens a table in the test's folder; several are as several processes."""
    with ExitStack() as stack:

        def open_one(sets: int = 16) -> Table:
            table = Table(BucketFile(tmp_path, sets), now)
            stack.callback(table.close)
            return table

        yield open_one


def drain(table: Table, name: str, limit: Limit = SLOW) -> int:
    """Take until there is none; how many there were."""
    taken = 0
    while table.take(name, limit)[0]:
        taken += 1
    return taken


def test_a_bucket_is_the_same_for_all_who_have_the_file_open(opened: Open, now: Now) -> None:
    """What one takes the other has not, and both see it flow in."""
    one, two = opened(), opened()
    assert [table.take("a", SLOW)[0] for table in (one, two, one, two, one)] == [True] * 3 + [False] * 2
    assert two.take("b", SLOW)[0]
    now.ns += SECOND_NS
    assert [table.take("a", SLOW)[0] for table in (two, one)] == [True, False]


def test_a_bucket_outlives_who_made_it(tmp_path: Path, now: Now) -> None:
    """A restart gives nobody a new burst."""
    first = Table(BucketFile(tmp_path), now)
    assert drain(first, "a") == 3
    first.close()
    second = Table(BucketFile(tmp_path), now)
    assert drain(second, "a") == 0
    second.close()


def test_a_token_that_is_given_back_is_there_for_all(opened: Open) -> None:
    """Once for each that was taken; a bucket that nobody knows is full anyway."""
    one, two = opened(), opened()
    assert drain(one, "a") == 3
    one.give_back("a", SLOW)
    assert drain(two, "a") == 1
    two.give_back("never seen", SLOW)
    assert drain(two, "never seen") == 3


def test_a_changed_limit_holds_at_once(opened: Open) -> None:
    """A smaller one for what was taken under a larger one, and the other way round."""
    table = opened()
    assert drain(table, "a", LARGE) == 4000
    assert drain(table, "a", SLOW) == 0
    assert drain(table, "b", SLOW) == 3
    assert drain(table, "b", LARGE) == 1000


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, SECOND_NS)), max_size=300))
def test_names_keep_apart_in_a_table_that_is_large_enough(calls: list[tuple[int, int]]) -> None:
    """Each has what it would have alone, whichever of two tables on the file is asked."""
    now = Now()
    with TemporaryDirectory() as folder, ExitStack() as stack:
        tables = [Table(BucketFile(Path(folder), 512), now) for _ in range(2)]
        for table in tables:
            stack.callback(table.close)
        alone: dict[int, int] = {}
        for number, (name, pause_ns) in enumerate(calls):
            now.ns += pause_ns
            expected, alone[name] = SLOW.take(alone.get(name, 0), now.ns)
            assert tables[number % 2].take(f"name {name}", SLOW) == (expected, alone[name] - now.ns)


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 60), st.integers(0, 30_000_000)), max_size=80))
def test_processes_that_count_by_themselves_err_by_what_they_may(calls: list[tuple[int, int, int]]) -> None:
    """Three on one large bucket: in no time more than burst and rate allow, but for a 128th a process and ten milliseconds."""
    limit, now, let_through = Limit(1000, 640), Now(), []
    with TemporaryDirectory() as folder, ExitStack() as stack:
        tables = [Table(BucketFile(Path(folder), 16), now) for _ in range(3)]
        for table in tables:
            stack.callback(table.close)
        for who, many, pause_ns in calls:
            now.ns += pause_ns
            let_through += [now.ns for _ in range(many) if tables[who].take("a", limit)[0]]
    allowed = limit.burst + 2 * limit.alone + limit.rate_per_s * POST_WITHIN_NS / SECOND_NS
    for first, begin in enumerate(let_through):
        for last in range(first + limit.burst, len(let_through)):
            assert last - first + 1 <= allowed + limit.rate_per_s * (let_through[last] - begin) / SECOND_NS


def test_what_a_process_counts_by_itself_is_posted(opened: Open, now: Now) -> None:
    """With its next call from ten milliseconds on; then each sees what the other took."""
    one, two = opened(), opened()
    limit = Limit(1, 1280)
    for _ in range(limit.alone):
        assert one.take("a", limit)[0]
    now.ns += POST_WITHIN_NS
    assert one.take("a", limit)[0]
    assert limit.left(two.take("a", limit)[1]) == 1280 - limit.alone - 2
    assert drain(two, "a", limit) == 1280 - limit.alone - 2
    now.ns += POST_WITHIN_NS
    assert drain(one, "a", limit) == 0


def test_a_full_table_forgets_the_bucket_that_matters_least(opened: Open) -> None:
    """In one set of eight: the flood of names that took one token each drives out its own kind, not the empty bucket."""
    table = opened(sets=1)
    assert drain(table, "empty") == 3
    for number in range(1000):
        assert table.take(f"flood {number}", SLOW)[0]
    assert drain(table, "empty") == 0


def test_a_table_that_is_full_of_empty_buckets_forgets_one(opened: Open) -> None:
    """Then somebody gets a new burst: the price of a fixed size."""
    table = opened(sets=1)
    for number in range(WAYS + 1):
        assert drain(table, f"name {number}") == 3
    assert sum(drain(table, f"name {number}") for number in range(1, WAYS + 1)) == 0
    assert drain(table, "name 0") == 3


def test_of_two_slots_of_one_name_the_emptier_counts(opened: Open, now: Now) -> None:
    """Two processes have made it at once: one stood still between time and mark, the other had not got the lock."""
    table = opened()
    assert drain(table, "a") == SLOW.burst
    place = table._place("a")
    at = table._find_slot(place, now.ns)[0]
    assert at == place.first
    table._cells[at + 1], table._cells[at + 1 + WAYS] = place.mark, table._cells[at + WAYS]
    table._cells[at + WAYS] = now.ns
    assert drain(table, "a") == 0


def test_what_no_process_can_have_written_is_replaced_first(opened: Open, tmp_path: Path) -> None:
    """Slots with times of another boot, far ahead, do not fill the table for ever."""
    table = opened(sets=1)
    with open(tmp_path / NAME, "r+b") as file:
        file.seek(FIRST_SET)
        file.write(b"\x01" * 8 * WAYS + (2**62).to_bytes(8, "little") * WAYS)
    for number in range(WAYS):
        assert drain(table, f"name {number}") == 3
    assert sum(drain(table, f"name {number}") for number in range(WAYS)) == 0


BROKEN = {
    "nothing": b"",
    "cut off": None,
    "noise": os.urandom(FIRST_SET),
    "another version": HEADER.pack(bucket_file.MAGIC, 2, 16, WAYS, bytes(16), bytes(16)),
    "another size": HEADER.pack(bucket_file.MAGIC, bucket_file.VERSION, 32, WAYS, bytes(16), bytes(16)),
    "another boot": HEADER.pack(bucket_file.MAGIC, bucket_file.VERSION, 16, WAYS, b"another boot....", bytes(16)),
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_a_file_that_is_not_as_it_should_be_is_replaced(opened: Open, tmp_path: Path, content: bytes | None) -> None:
    """With a new one; who has the old one mapped is not disturbed."""
    before = opened()
    assert drain(before, "a") == 3
    good = (tmp_path / NAME).read_bytes()
    broken = good[:-1] if content is None else content + good[len(content) :] if content else b""
    (tmp_path / "other").write_bytes(broken)
    (tmp_path / "other").chmod(0o600)
    (tmp_path / "other").rename(tmp_path / NAME)
    after = opened()
    assert drain(after, "a") == 3
    assert drain(opened(), "a") == 0, "the new one is not taken for broken"
    assert drain(before, "a") == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [NAME]


def test_a_file_that_others_may_write_is_replaced(opened: Open, tmp_path: Path) -> None:
    """They could cut it off under a running process. A link is refused: what it leads to may be anything."""
    opened()
    (tmp_path / NAME).chmod(0o660)
    opened()
    assert (tmp_path / NAME).stat().st_mode & 0o777 == 0o600
    (tmp_path / NAME).rename(tmp_path / "elsewhere")
    (tmp_path / NAME).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigurationError, match="LEDGERD_RUN_DIR"):
        opened()


def test_a_boot_that_the_sandbox_hides_is_no_other_boot(opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever cannot know it shares the file with those who can."""
    assert drain(opened(), "a") == 3
    monkeypatch.setattr(bucket_file, "BOOT_ID", tmp_path / "hidden")
    assert drain(opened(), "a") == 0


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    """With the setting that names it."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match=r"LEDGERD_RUN_DIR=.*file/run: Not a directory"):
        BucketFile(tmp_path / "file" / "run")


def test_a_full_disk_is_told_at_the_start(tmp_path: Path) -> None:
    """Room for the whole file is taken when it is made; half of one is never left."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(ConfigurationError, match=os.strerror(errno.EFBIG)):
            BucketFile(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


def test_a_key_may_have_a_limit_of_its_own(opened: Open) -> None:
    """A burst that is missing is a second's; a rate that is missing is the default."""
    limiter = Limiter(opened(), key_limit=Limit(50, 70), address_limit=Limit(1, 2))

    def limit(rate: float | None, burst: int | None) -> tuple[float, int]:
        found = limiter.take_key("0123456789ab", rate, burst)[0]
        return found.rate_per_s, found.burst

    assert limit(None, None) == (50, 70)
    assert limit(2.5, None) == (2.5, 3)
    assert limit(0.1, None) == (0.1, 1)
    assert limit(None, 5) == (50, 5)
    assert limit(100, 20) == (100, 20)
    assert limit(5e6, 20) == (1e6, 20)


def test_an_address_is_counted_with_its_network(opened: Open) -> None:
    """IPv6 by /64, which one customer has at least; each use apart from the other, and from keys."""
    limiter = Limiter(opened(512), key_limit=Limit(1, 1), address_limit=Limit(1, 2))

    def taken(*addresses: str) -> list[bool]:
        return [limiter.take_address("open", address)[1] for address in addresses]

    assert taken("2001:db8::1", "2001:db8::ffff:2", "2001:db8:0:0:3::") == [True, True, False]
    assert taken("2001:db8:0:1::1") == [True]
    assert taken("192.0.2.1", "192.0.2.2", "192.0.2.1", "192.0.2.1") == [True, True, True, False]
    assert limiter.take_address("refused", "192.0.2.1")[1]
    assert taken("", "", "") == [True, True, False]
    limiter.give_back_address("open", "2001:db8::77")
    assert taken("2001:db8::1", "2001:db8::1") == [True, False]
