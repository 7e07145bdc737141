"""A step of a flow: a Prefect task inside a flow run, and a plain call outside of one.

The same flow can so be run with Prefect's record of it or, where nobody needs that record, without
starting its server.
"""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.context import FlowRunContext

P = ParamSpec("P")
R = TypeVar("R")


def step(function: Callable[P, R]) -> Callable[P, R]:
    """Make a step of a plain function.

    Nothing is cached or kept by Prefect: manifests are the only truth for what is finished.
    """
    name = function.__name__.replace("_", " ")
    prefect_task = task(name=name, cache_policy=NO_CACHE, persist_result=False)(function)

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        if FlowRunContext.get() is None:
            return function(*args, **kwargs)
        return prefect_task(*args, **kwargs)

    return call
