"""Questions that many threads have at once: one of them asks, all get its answer, or its failure."""

from __future__ import annotations

import threading
from concurrent.futures import Future, InvalidStateError, ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

Q = TypeVar("Q", bound="Hashable")
A = TypeVar("A")


class Once(Generic[Q, A]):
    """Answers by question for the life of the object. A failure is an answer too: whoever asks later fails at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._futures: dict[Q, Future[A]] = {}

    def get(self, question: Q, ask: Callable[[Q], A]) -> A:
        """``ask(question)``, by the first that wants it; raises what that raised."""
        mine, futures = self._claim((question,))
        if mine:
            _answer(futures[question], question, ask)
        return futures[question].result()

    def all(self, questions: Iterable[Q], ask: Callable[[Q], A], *, threads: int) -> dict[Q, A]:
        """The answers to several, ``threads`` of them asked for at once. Raises the first failure, in their order.

        No future is ever left without an answer: other threads may wait for it.
        """
        mine, futures = self._claim(questions)
        try:
            if mine:
                self._ask_many(mine, futures, ask, threads)
        except BaseException as error:  # Ctrl-C, for one
            for question in mine:
                with suppress(InvalidStateError):
                    futures[question].set_exception(error)
            raise
        return {question: future.result() for question, future in futures.items()}

    def answered(self, question: Q) -> bool:
        """Whether it was answered, other than by a failure."""
        with self._lock:
            future = self._futures.get(question)
        return future is not None and future.done() and future.exception() is None

    def _claim(self, questions: Iterable[Q]) -> tuple[list[Q], dict[Q, Future[A]]]:
        """Those that the caller has to ask, and the futures of all."""
        mine: list[Q] = []
        futures: dict[Q, Future[A]] = {}
        with self._lock:
            for question in questions:
                if question not in self._futures:
                    self._futures[question] = Future()
                    mine.append(question)
                futures[question] = self._futures[question]
        return mine, futures

    def _ask_many(self, mine: list[Q], futures: dict[Q, Future[A]], ask: Callable[[Q], A], threads: int) -> None:
        try:
            with ThreadPoolExecutor(min(threads, len(mine))) as pool:
                for question in mine:
                    pool.submit(_answer, futures[question], question, ask)
        except RuntimeError:  # no (further) thread can be started: what those that could left over is asked here
            for question in mine:
                if not futures[question].done():
                    _answer(futures[question], question, ask)


def _answer(future: Future[A], question: Q, ask: Callable[[Q], A]) -> None:
    try:
        found = ask(question)
    except BaseException as error:  # noqa: BLE001 - whoever waits for the future gets it
        future.set_exception(error)
    else:
        future.set_result(found)
