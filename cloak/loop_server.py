"""One process runs the loop for many: a GPU takes the faces of many photos in one batch.

Reading, finding faces, fitting and writing keep a CPU's cores busy, in processes of their own
(``cloak.workers``); what they have in common, the loop, runs here, on all that has come in
meanwhile. A process that asks waits for its answer, so no queue grows.
"""

import os
import pickle
import queue
import secrets
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener
from types import TracebackType

from torch import Tensor

from cloak.batches import Perturb
from cloak.errors import CloakError, DeviceError, in_a_line
from cloak.memory import device_is_lost, lost
from cloak.patches import FacePatch

MOST_AT_ONCE = 256
"""Faces that are taken from the queue together."""


Request = tuple[list[FacePatch], Connection]
"""What a process asks for, and how it is answered."""


@dataclass(frozen=True)
class RemoteLoop:
    """``Perturb``, by a process that has the device; sent to others, it connects when it is first called.

    Attributes:
        address: of the server's socket.
        key: that both sides prove to have.
    """

    address: str | tuple[str, int]
    key: bytes

    def __call__(
        self, patches: Sequence[FacePatch], on_share: Callable[[float], None] = lambda share: None
    ) -> list[Tensor]:
        try:
            self._connection.send_bytes(pickle.dumps(list(patches)))
            answer = pickle.loads(self._connection.recv_bytes())
        except BaseException as error:
            self.__dict__.pop("_connection", None)  # else the next photo would read this one's answer
            if isinstance(error, EOFError):
                raise DeviceError("the process that has the GPU ended") from None
            raise
        if isinstance(answer, DeviceError):
            raise answer
        on_share(1.0)
        return list(answer)

    @cached_property
    def _connection(self) -> Connection:
        return Client(self.address, authkey=self.key)


class LoopServer:
    """Serves the processes of one machine and user, within a ``with`` block.

    Args:
        perturb: the loop; called by one thread at a time.

    Attributes:
        loop: what to send to the processes that are served.
        batches: how many faces each run had.
    """

    def __init__(self, perturb: Perturb) -> None:
        self.batches: list[int] = []
        self._perturb = perturb
        self._waiting: queue.Queue[Request | None] = queue.Queue()
        self._ending = threading.Event()
        key = secrets.token_bytes(32)
        self._listener = _listener(key)
        self.loop = RemoteLoop(self._listener.address, key)
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._accept, self._work)]

    def _accept(self) -> None:
        while True:
            try:
                connection = self._listener.accept()
            except (AuthenticationError, EOFError, OSError):  # it has not the key, or has ended; or this was closed
                if self._ending.wait(0.05):
                    return
                continue
            threading.Thread(target=self._listen, args=(connection,), daemon=True).start()

    def _listen(self, connection: Connection) -> None:
        with suppress(EOFError, OSError):  # the process has ended
            while True:
                self._waiting.put((pickle.loads(connection.recv_bytes()), connection))

    def _work(self) -> None:
        while (first := self._waiting.get()) is not None:
            requests = [first]
            with suppress(queue.Empty):
                while sum(len(patches) for patches, _ in requests) < MOST_AT_ONCE:
                    more = self._waiting.get_nowait()
                    if more is None:  # the end, when these have their answers
                        self._waiting.put(None)
                        break
                    requests.append(more)
            self._answer(requests)

    def _answer(self, requests: Sequence[Request]) -> None:
        patches = [patch for asked, _ in requests for patch in asked]
        self.batches.append(len(patches))
        try:
            deltas = iter(self._perturb(patches, self._going_on))
            answers = [pickle.dumps([next(deltas) for _ in asked]) for asked, _ in requests]
        except Exception as error:  # whatever it is, those who wait must hear of it
            # and one must not take the others with it
            if len(requests) > 1 and not device_is_lost(error) and not self._ending.is_set():
                for request in requests:
                    self._answer([request])
                return
            told = lost(error) if device_is_lost(error) else DeviceError(in_a_line(error))
            answers = [pickle.dumps(told)] * len(requests)
        for answer, (_, connection) in zip(answers, requests, strict=True):
            with suppress(OSError):  # the process has ended
                connection.send_bytes(answer)

    def _going_on(self, share: float) -> None:
        """Called after each step: stops the loop when nobody waits any more."""
        if self._ending.is_set():
            raise CloakError("the run has ended")

    def __enter__(self) -> "LoopServer":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        self._waiting.put(None)
        self._listener.close()
        self._threads[1].join()  # the interpreter must not end beneath it


def _listener(key: bytes) -> Listener:
    """A socket in a folder of its own; or, where that has too long a name, one of this machine's ports."""
    backlog = os.cpu_count() or 1
    try:
        return Listener(backlog=backlog, authkey=key)
    except OSError:
        return Listener(("localhost", 0), backlog=backlog, authkey=key)
