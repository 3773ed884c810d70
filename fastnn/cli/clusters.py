"""Run a search on an existing Dask cluster."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import Iterator
from typing import Any

import fastnn
from fastnn.extras import require

TIMEOUT = 5  # seconds to wait for a reply of the scheduler, and for the first worker


@contextlib.contextmanager
def cluster(address: str | None) -> Iterator[str | None]:
    """Context manager that makes a Dask cluster the backend of Joblib.

    Yields a description of the cluster for the output, or None if ``address`` is None.

    Parameters
    ----------
    address : str or None
        Address of the scheduler.

    Raises
    ------
    ImportError
        If Dask is not installed.
    OSError
        If no scheduler answers, or the scheduler has no workers.
    ValueError
        If ``address`` is not an address, or a worker lacks this package or has another version.
    """
    if address is None:
        yield None
        return
    import joblib

    distributed = require("distributed", "--cluster")
    with _silent(), contextlib.ExitStack() as stack:
        _check_scheduler(distributed, address)
        try:
            client = stack.enter_context(
                distributed.Client(address, timeout=TIMEOUT, set_as_default=False)
            )
        except (OSError, ValueError) as error:  # TimeoutError is an OSError
            raise OSError(f"--cluster {address}: no Dask scheduler ({error})") from None
        workers = _workers(client, address)
        check_versions(client, address)
        stack.enter_context(joblib.parallel_config("dask", client=client))
        threads = sum(workers.values())
        yield f"{address}, {len(workers)} workers with {threads} threads"


def _check_scheduler(distributed: Any, address: str) -> None:
    """Raise unless a scheduler answers; checked first because a client takes long to fail."""
    try:
        host, port = distributed.comm.get_address_host_port(address, strict=True)
    except (ValueError, TypeError, NotImplementedError):
        raise ValueError(
            f"--cluster must be the address of a scheduler, as tcp://HOST:8786; got {address!r}"
        ) from None

    async def shake_hands() -> None:
        (await distributed.comm.connect(address, timeout=TIMEOUT)).abort()

    try:
        socket.create_connection((host, port), timeout=TIMEOUT).close()  # fails fast if refused
        asyncio.run(asyncio.wait_for(shake_hands(), TIMEOUT))
    except Exception as error:  # another kind of server may send anything
        reason = "it was refused" if isinstance(error, ConnectionRefusedError) else "no answer"
        raise OSError(f"--cluster {address}: no Dask scheduler there ({reason})") from None


def _workers(client: Any, address: str) -> dict[str, int]:
    """Return the threads of each worker; waits for the first worker, which may be starting."""
    deadline = time.monotonic() + TIMEOUT
    while not (workers := client.ncores()):
        if time.monotonic() > deadline:
            raise OSError(f"--cluster {address}: the scheduler has no workers")
        time.sleep(0.1)
    return dict(workers)


def version() -> str:
    """Return the version of this package; called on the workers."""
    return fastnn.__version__


def check_versions(client: Any, address: str) -> None:
    """Raise unless all workers have this version of the package."""
    try:
        found = client.run(version)
    except Exception as error:  # unpickling on a worker can raise any exception
        raise ValueError(
            f"--cluster {address}: the workers cannot import fastnn {fastnn.__version__} "
            f"({str(error).splitlines()[0] if str(error) else type(error).__name__})"
        ) from None
    others = {each for each in found.values() if each != fastnn.__version__}
    if others:
        raise ValueError(
            f"--cluster {address}: workers have fastnn {', '.join(sorted(others))}; "
            f"this is {fastnn.__version__}"
        )


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Context manager that silences Dask's log lines about lost workers and connections."""
    logger = logging.getLogger("distributed")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
