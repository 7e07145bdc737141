"""Deploy: register the night of a job with a Prefect server, so that its workers run it."""

import os
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
from prefect import get_client
from prefect.automations import Automation
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import (
    ConcurrencyLimitConfig,
    ConcurrencyLimitStrategy,
    StateType,
)
from prefect.client.schemas.schedules import CronSchedule
from prefect.deployments.runner import RunnerDeployment
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification
from prefect.exceptions import ObjectNotFound
from prefect.flows import EntrypointType
from prefect.schedules import Cron
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.job import JobError, read_job
from flows.nightly import nightly
from flows.recordings import never_told
from tasks.redact import redacted

DEAD_RUNS = "phasemill: a run without a heartbeat has crashed"
LATE = ConcurrencyLimitStrategy.CANCEL_NEW
"""Two nights on one output would refuse each other, so one that comes too soon is left out."""
HEARTBEATS = timedelta(seconds=540)
"""Three of the 180 s that a run's heartbeat takes by default."""


class DeployError(RuntimeError):
    """The night cannot be registered."""


@dataclass(frozen=True)
class Schedule:
    """When a night begins and ends."""

    cron: str
    timezone: str
    until: str | None = None


def deploy(job: Path, name: str, pool: str, schedule: Schedule | None) -> dict[str, Any]:
    """Register the nightly flow with the server at ``PREFECT_API_URL``.

    Parameters
    ----------
    job : Path
        A job file that the workers see at the same path. Recordings may still be to come.
    name : str
        Name of the deployment; one of the same name is replaced.
    pool : str
        Work pool whose workers run it; made, of processes, where it is not there.
    schedule : Schedule, optional
        Without it, it runs when it is asked to.

    Returns
    -------
    dict
        ``deployment`` (nightly/name), ``id``, ``pool``, ``schedule``, ``server``.

    Raises
    ------
    DeployError
        If no server is named or none answers, or the schedule is no schedule.
    JobError
        If the job cannot be run.
    """
    server = os.environ.get("PREFECT_API_URL")
    if not server:
        raise DeployError(
            "no Prefect server is named; start one with 'prefect server start' and set "
            "PREFECT_API_URL, for example to http://127.0.0.1:4200/api"
        )
    job = job.resolve()
    if faults := never_told(read_job(job, awaited=True)):
        raise JobError(str(job), faults)
    deployment = RunnerDeployment.from_flow(
        nightly,
        name=name,
        schedules=[] if schedule is None else [_cron(schedule)],
        parameters={"job": str(job), "until": schedule.until if schedule else None},
        concurrency_limit=ConcurrencyLimitConfig(
            limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW
        ),
        work_pool_name=pool,
        job_variables={"env": {"PYTHONSAFEPATH": "1"}},
        description=f"Mills {job}",
        tags=["phasemill"],
        # By its module: what a file given by path defines does not unpickle on a Dask worker.
        entrypoint_type=EntrypointType.MODULE_PATH,
    )
    try:
        with (
            temporary_settings({PREFECT_API_URL: server}),
            get_client(sync_client=True) as client,
        ):
            _pool(client, pool)
            identity = deployment.apply()
            _crash_dead_runs(client)
    except httpx.HTTPError as error:
        raise DeployError(
            redacted(f"the Prefect server at {server} does not take it: ")
            + redacted(str(error) or type(error).__name__)
        ) from error
    return {
        "deployment": f"nightly/{name}",
        "id": str(identity),
        "pool": pool,
        "schedule": None if schedule is None else f"{schedule.cron} ({schedule.timezone})",
        "server": redacted(server),
    }


def _cron(schedule: Schedule) -> Any:
    try:
        CronSchedule(cron=schedule.cron, timezone=schedule.timezone)
    except ValueError as error:
        raise DeployError(
            f"{schedule.cron!r} in time zone {schedule.timezone!r} is no schedule; give one as "
            "'0 22 * * 1-5' in Europe/Zurich"
        ) from error
    return Cron(schedule.cron, timezone=schedule.timezone)


def _pool(client: SyncPrefectClient, name: str) -> None:
    try:
        client.read_work_pool(name)
    except ObjectNotFound:
        client.create_work_pool(WorkPoolCreate(name=name, type="process", concurrency_limit=1))


def _crash_dead_runs(client: SyncPrefectClient) -> None:
    """Have the server mark a run that was killed: without it, it would stay ``Running``."""
    found = client.request("POST", "/automations/filter", json={}).json()
    if any(automation["name"] == DEAD_RUNS for automation in found):
        return
    ends = ("heartbeat", "Completed", "Failed", "Cancelled", "Crashed")
    Automation(
        name=DEAD_RUNS,
        trigger=EventTrigger(
            after={"prefect.flow-run.heartbeat"},
            expect={f"prefect.flow-run.{end}" for end in ends},
            match=ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*"]}),
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=HEARTBEATS,
        ),
        actions=[
            ChangeFlowRunState(
                state=StateType.CRASHED, name=None, message="its heartbeat ended", force=False
            )
        ],
    ).create()
