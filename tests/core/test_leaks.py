"""The leak check finds what it is to find."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

from tests.core.leaks import snapshot


def test_a_thread_is_found(tmp_path: Path) -> None:
    """By its name, on threads and on greenlets."""
    before, gate = snapshot(), threading.Event()
    thread = threading.Thread(target=gate.wait, args=(20,), name="left over")
    thread.start()
    assert "thread left over" in before.left_behind(patience_s=0.02)
    gate.set()
    thread.join(10)
    assert before.left_behind() == []


def test_a_descriptor_is_found(tmp_path: Path) -> None:
    """With what it is open on."""
    before = snapshot()
    with open(tmp_path / "open", "w"):
        (left,) = before.left_behind(patience_s=0.02)
        assert left.startswith("descriptor")
        assert left.endswith("open")
    assert before.left_behind() == []


def test_a_process_is_found() -> None:
    """With its command."""
    before = snapshot()
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert any(left.startswith("process") and str(process.pid) in left for left in before.left_behind(patience_s=0.02))
    process.communicate(b"\n")
    assert before.left_behind() == []


def test_a_greenlet_is_found() -> None:
    """One that was begun and has not ended."""
    import greenlet

    before = snapshot()
    main = greenlet.getcurrent()
    one = greenlet.greenlet(main.switch)
    one.switch()
    assert any(left.startswith("greenlet") for left in before.left_behind(patience_s=0.02))
    one.switch()
    assert before.left_behind() == []
