"""One asks, all get the answer; and nobody waits for ever."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from torchmatrix.sources.once import Once


def test_one_of_many_asks() -> None:
    asked: list[str] = []

    def ask(question: str) -> int:
        asked.append(question)
        time.sleep(0.05)
        return len(question)

    once: Once[str, int] = Once()
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda _: once.get("four", ask), range(16)))
    assert found == [4] * 16
    assert asked == ["four"]
    assert once.all(["four", "a", "four", "bb"], ask, threads=2) == {"four": 4, "a": 1, "bb": 2}
    assert sorted(asked) == ["a", "bb", "four"]
    assert once.answered("a")
    assert not once.answered("never")


def test_a_failure_is_an_answer_and_takes_none_away() -> None:
    def ask(question: str) -> int:
        return int(question)

    once: Once[str, int] = Once()
    with pytest.raises(ValueError, match="bad"):
        once.all(["1", "bad", "2", "worse"], ask, threads=1)
    with pytest.raises(ValueError, match="worse"):
        once.get("worse", lambda _: 3)
    assert once.all(["1", "2"], lambda _: 0, threads=1) == {"1": 1, "2": 2}
    assert not once.answered("bad")


@pytest.mark.parametrize("possible", [0, 1])
def test_without_threads_it_asks_itself(monkeypatch: pytest.MonkeyPatch, possible: int) -> None:
    start, left = threading.Thread.start, [None] * possible

    def refuse(thread: threading.Thread) -> None:
        if not left:
            raise RuntimeError("can't start new thread")
        left.pop()
        start(thread)

    once: Once[int, int] = Once()
    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert once.all(range(5), lambda number: number * 2, threads=4) == {0: 0, 1: 2, 2: 4, 3: 6, 4: 8}


def test_who_is_interrupted_leaves_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    once: Once[int, int] = Once()
    monkeypatch.setattr(once, "_ask_many", interrupt)
    with pytest.raises(KeyboardInterrupt):
        once.all([1, 2], lambda number: number, threads=2)
    with pytest.raises(KeyboardInterrupt):
        once.get(2, lambda number: number)
