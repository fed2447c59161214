"""uvicorn's server and its supervisor of several, which say when they serve, and whether that failed.

The supervisor sees at once that a worker has ended, and starts another.

uvicorn's asks each worker through a pipe whether it still answers, and keeps the worker's end of it open itself: from a worker that ends
while it is asked, it then waits for an answer for as long as a silent worker may take, and hears no signal meanwhile. Here that end is
closed as soon as the worker has its own, so that the pipe ends with the worker.
"""

import socket
from collections.abc import Callable

from uvicorn import Config, Server
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess


class Alone(Server):
    """One process."""

    def __init__(self, config: Config, up: Callable[[], None]) -> None:
        super().__init__(config)
        self._up = up

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Open all that is needed, and say that it is."""
        await super().startup(sockets)
        if self.started:
            self._up()


class Supervisor(Multiprocess):
    """Several workers, which may end at any moment."""

    def __init__(self, config: Config, sockets: list[socket.socket], up: Callable[[], None]) -> None:
        super().__init__(config, sockets)
        self._up: Callable[[], None] | None = up

    @property
    def failed(self) -> bool:
        """Whether it ended because a worker could not start."""
        return any(one.exitcode == STARTUP_FAILURE for one in self.processes)

    def run(self) -> None:
        """Until told to stop. Whatever else ends it ends the workers too: they would be waited for."""
        try:
            super().run()
        except BaseException:
            self.terminate_all()
            self.join_all()
            raise

    def init_processes(self) -> None:
        """Start the workers."""
        super().init_processes()
        self._let_go()

    def keep_subprocess_alive(self) -> None:
        """Start those anew that have ended."""
        if self._up is not None and not self.should_exit.is_set() and all(one.is_ready(timeout=1) for one in self.processes):
            self._up()
            self._up = None
        super().keep_subprocess_alive()
        self._let_go()

    def _let_go(self) -> None:
        for one in self.processes:
            one.child_conn.close()  # closed once or often: no matter
