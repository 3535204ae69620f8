"""An answer settles once, and everybody who waits for it hears of it."""

from __future__ import annotations

import threading

import pytest

from dap_server.protocol.errors import RequestError
from dap_server.wire.reply import Reply


def test_a_reply_has_no_result_before_it_settles() -> None:
    reply: Reply[int] = Reply()
    assert not reply.is_settled
    with pytest.raises(TimeoutError):
        reply.result(0)


def test_only_the_first_settling_counts() -> None:
    reply: Reply[int] = Reply()
    reply.settle(1)
    reply.settle(2)
    reply.fail(RequestError("too late"))
    assert reply.result(0) == 1
    assert reply.is_success


def test_a_failed_reply_raises_its_error_every_time() -> None:
    reply: Reply[int] = Reply()
    reply.fail(RequestError("no"))
    reply.settle(1)
    for _ in range(2):
        with pytest.raises(RequestError, match="no"):
            reply.result(0)
    assert reply.is_settled
    assert not reply.is_success


def test_none_is_a_value() -> None:
    reply: Reply[None] = Reply()
    reply.settle(None)
    reply.result(0)
    assert reply.is_success


def test_callbacks_come_once_whether_asked_for_before_or_after() -> None:
    reply: Reply[int] = Reply()
    heard: list[str] = []
    reply.then(lambda r: heard.append(f"before {r.result(0)}"))
    reply.settle(7)
    reply.then(lambda r: heard.append(f"after {r.result(0)}"))
    assert heard == ["before 7", "after 7"]


def test_a_waiting_thread_is_woken() -> None:
    reply: Reply[str] = Reply()
    results: list[str] = []
    waiting = threading.Thread(target=lambda: results.append(reply.result(10)))
    waiting.start()
    reply.settle("here")
    waiting.join(10)
    assert results == ["here"]
