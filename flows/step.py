"""A step of a flow: a Prefect task inside a flow run, and a plain call outside of one.

The same flow can so be run with Prefect's record of it or, where nobody needs that record or its
server is lost, without.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import ParamSpec, TypeVar

import httpx
from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.context import FlowRunContext
from prefect.exceptions import PrefectHTTPStatusError

P = ParamSpec("P")
R = TypeVar("R")

_unrecorded: ContextVar[bool] = ContextVar("unrecorded", default=False)


def step(function: Callable[P, R]) -> Callable[P, R]:
    """Make a step of a plain function.

    Nothing is cached or kept by Prefect: manifests are the only truth for what is finished.
    """
    name = function.__name__.replace("_", " ")
    prefect_task = task(name=name, cache_policy=NO_CACHE, persist_result=False)(function)

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        if not recorded():
            return function(*args, **kwargs)
        return prefect_task(*args, **kwargs)

    return call


def recorded() -> bool:
    """Whether Prefect keeps a record of what runs here."""
    return FlowRunContext.get() is not None and not _unrecorded.get()


@contextmanager
def unrecorded() -> Iterator[None]:
    """Run the steps inside without Prefect's record, even within one of its flows."""
    token = _unrecorded.set(True)
    try:
        yield
    finally:
        _unrecorded.reset(token)


def is_lost_record(error: BaseException) -> bool:
    """Whether it was Prefect's server that failed, and not what it keeps a record of."""
    failed = isinstance(error, httpx.TransportError)
    if isinstance(error, PrefectHTTPStatusError):
        failed = error.response.is_server_error
    return failed or (error.__cause__ is not None and is_lost_record(error.__cause__))
