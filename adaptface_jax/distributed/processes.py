# SPDX-License-Identifier: Apache-2.0
"""Several processes that train one run together: how they connect, agree, and share the rows of a batch.

Every process runs the same program on its own devices; the mesh spans all of them. Only the first one writes.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import NamedSharding

from adaptface_jax.core.errors import InputError
from adaptface_jax.core.text import one_line
from adaptface_jax.distributed.flags import JOIN_SECONDS
from adaptface_jax.distributed.liveness import Relay, listen_for_all, listen_here

HEARTBEAT_SECONDS = 30  # how long to wait for a silent process

# Launchers that pass each process the same three values in environment variables.
_VARIABLES = (
    ("JAX_COORDINATOR_ADDRESS", None, "JAX_NUM_PROCESSES", "JAX_PROCESS_ID"),
    ("MASTER_ADDR", "MASTER_PORT", "WORLD_SIZE", "RANK"),  # torchrun
)
# Launchers that jax itself supports: a variable that is above 1 if there are several processes.
_CLUSTERS = ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE")
_relays: list[Relay] = []  # this process's, if it has one
_ending = threading.Lock()


def join(coordinator: str | None, count: int | None, index: int | None, patience: int = JOIN_SECONDS) -> None:
    """Connect to the other processes, if flags or the environment define any; must come before any use of a device.

    Raises InputError for inconsistent flags or variables. If the others do not connect within `patience` seconds,
    the program ends with one line and status 1.
    """
    given = [value is not None for value in (coordinator, count, index)]
    if any(given) and not all(given):
        raise InputError("--coordinator, --num_processes and --process_id belong together; give all three or none")
    arguments: dict[str, Any] = {}
    if all(given):
        arguments = {"coordinator_address": coordinator, "num_processes": count, "process_id": index}
    else:
        arguments = from_environment(os.environ)
        cluster = any(os.environ.get(name, "1") not in ("", "0", "1") for name in _CLUSTERS)
        if not arguments and not cluster:
            return
    if arguments and not 0 <= arguments["process_id"] < arguments["num_processes"]:
        count = arguments["num_processes"]
        raise InputError(f"process {arguments['process_id']} of {count}: expected a number from 0 to {count - 1}")
    if arguments.get("num_processes") == 1:
        return
    # If jax finds the others by itself (SLURM, Open MPI), the launcher ends the remaining processes of a run.
    where = f" at {arguments['coordinator_address']}" if arguments else ""
    relay = _relay(arguments, patience) if arguments else None
    # jax's runtime, when its own timeout expires, aborts the program with its own messages.
    alarm = threading.Timer(patience, _give_up, (f"within {patience} s{where}",))
    alarm.daemon = True
    alarm.start()
    try:
        jax.distributed.initialize(
            **arguments, initialization_timeout=patience + 60, heartbeat_timeout_seconds=HEARTBEAT_SECONDS
        )
    except (RuntimeError, ValueError) as error:
        raise InputError(_not_met(f"({one_line(error)})")) from None
    finally:
        alarm.cancel()
    if relay:
        relay.met()
        _relays.append(relay)
        atexit.register(relay.leave)  # before jax disconnects, which registered earlier
    if not primary():
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  (the first process speaks for all)


def _not_met(how: str) -> str:
    return f"the other processes of the run did not connect {how}; are all of them started, and reachable?"


def _give_up(how: str) -> NoReturn:
    """Called from a thread, while jax waits."""
    print(f"error: {_not_met(how)} (--join_timeout)", file=sys.stderr, flush=True)
    os._exit(1)


def _relay(arguments: dict[str, Any], patience: int) -> Relay:
    """The relay of this process; `arguments`, arguments of `jax.distributed.initialize`, then go through it."""
    index, address = arguments["process_id"], arguments["coordinator_address"]
    host, _, port = address.rpartition(":")
    if not (host and port.isdecimal() and 0 < int(port) < 1 << 16):
        raise InputError(f"{address!r}: expected HOST:PORT of the first process, e.g. 10.0.0.1:29500")
    if index == 0:
        with listen_here() as free:
            inner = free.getsockname()
        try:
            listener = listen_for_all(int(port))
        except OSError as error:
            raise InputError(f"{address}: cannot listen on this port ({error.strerror}); choose another one") from None
        arguments["coordinator_address"] = arguments["coordinator_bind_address"] = f"{inner[0]}:{inner[1]}"
        return Relay(listener, inner, True, lambda: _leave_behind(index, "its connection broke"), patience)
    listener = listen_here()
    arguments["coordinator_address"] = "{}:{}".format(*listener.getsockname())
    target = host.strip("[]"), int(port)
    return Relay(listener, target, False, lambda: _leave_behind(index, "the first one is gone"), patience)


def from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    """The variables of a launcher, as arguments of `jax.distributed.initialize`; empty if there is one process.

    Raises InputError for values that are not numbers.
    """
    for address, port, count, index in _VARIABLES:
        if environment.get(count, "1") in ("", "1") or address not in environment or index not in environment:
            continue
        try:
            where = environment[address]
            if port:
                # torchrun itself listens on this port if it says so: the next one is used.
                beside = environment.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
                where += f":{int(environment.get(port, '29500')) + beside}"
            return {
                "coordinator_address": where,
                "num_processes": int(environment[count]),
                "process_id": int(environment[index]),
            }
        except ValueError:
            given = {name: environment[name] for name in filter(None, (port, count, index)) if name in environment}
            raise InputError(f"{given}: expected integers; unset them to run a single process") from None
    return {}


def several() -> bool:
    """Whether the run has more than one process."""
    return jax.process_count() > 1


def part(seconds: float = 10) -> bool:
    """Before an early end: return when the others end too, but wait no longer than this, since they may not.

    False if this process has not connected to others.
    """
    if not jax.distributed.is_initialized():
        return False
    for relay in _relays:
        relay.leave()
    leaving = threading.Thread(target=jax.distributed.shutdown, daemon=True)
    leaving.start()
    leaving.join(seconds)
    return True


def primary() -> bool:
    """Whether this is the process that writes."""
    return jax.process_index() == 0


def agreed(value: int | None) -> int | None:
    """The value of the first process, in all of them."""
    if not several():
        return value
    with jax.transfer_guard("allow"):
        found = int(multihost_utils.broadcast_one_to_all(np.int32(-1 if value is None else value)))
    return None if found < 0 else found


def anywhere(mask: np.ndarray) -> np.ndarray:
    """Where it is true in any process, bool [N]."""
    if not several():
        return mask
    with jax.transfer_guard("allow"):
        return np.any(multihost_utils.process_allgather(mask.astype(np.int32)), axis=0)


def wait_for_all(name: str) -> None:
    """Return when every process has reached this point."""
    if several():
        multihost_utils.sync_global_devices(name)


def process_rows(batch_size: int, index: int, count: int) -> slice:
    """The contiguous rows of a batch that process `index` of `count` reads."""
    rows = batch_size // count
    return slice(index * rows, (index + 1) * rows)


def place_rows(batch: Any, rows: NamedSharding) -> Any:
    """This process's rows of a batch (a tree of host arrays) as part of the whole batch on the devices."""
    if not several():
        return jax.device_put(batch, rows)
    with jax.transfer_guard("allow"):  # jax treats this explicit placement as an implicit one
        return jax.tree.map(lambda x: jax.make_array_from_process_local_data(rows, x), batch)


@contextlib.contextmanager
def losing_none() -> Iterator[None]:
    """Ends the program, with one line and status 1, if the block fails because another process of the run is lost."""
    try:
        yield
    except (jax.errors.JaxRuntimeError, ValueError) as error:
        reason = one_line(error, 160)
        if not several() or not any(sign in reason for sign in ("Gloo", "NCCL", "UNAVAILABLE", "coordination")):
            raise
        _leave_behind(jax.process_index(), reason)


def _leave_behind(index: int, reason: str) -> NoReturn:
    """End at once, with one line: saves, barriers and threads would wait for the lost process."""
    _ending.acquire()  # never released: a second caller waits for the end
    print(
        f"error: process {index}: another process of the run is lost ({reason}); start all of them "
        "again to resume from the last checkpoint",
        file=sys.stderr,
        flush=True,
    )
    os._exit(1)


class Agreement:
    """Whether any process was asked to stop: the same answer in all of them, one step late, so that none waits."""

    def __init__(self, rows: NamedSharding, whole: NamedSharding) -> None:
        self._rows = rows
        self._any = jax.jit(lambda flags: flags.max(), in_shardings=rows, out_shardings=whole)
        self._flags: jax.Array | None = None

    def any(self, mine: bool) -> bool:
        """The answer as of the previous call; every process calls this at the same points of its program."""
        if not several():
            return mine
        flags = np.full(len(self._rows.addressable_devices), mine, np.int32)
        before, self._flags = self._flags, self._any(place_rows(flags, self._rows))
        return before is not None and bool(jax.device_get(before))
