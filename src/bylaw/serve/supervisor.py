"""The process that starts workers, and starts them anew: it sees at once that one has ended.

uvicorn's asks each worker through a pipe whether it still answers, and keeps the worker's end of it open itself: from a worker that ends
while it is asked, it then waits for an answer for as long as a silent worker may take, and hears no signal meanwhile. Here that end is
closed as soon as the worker has its own, so that the pipe ends with the worker.
"""

from uvicorn.supervisors import Multiprocess


class Supervisor(Multiprocess):
    """uvicorn's supervisor, for workers that may end at any moment."""

    def init_processes(self) -> None:
        """Start the workers."""
        super().init_processes()
        self._let_go()

    def keep_subprocess_alive(self) -> None:
        """Start those anew that have ended."""
        super().keep_subprocess_alive()
        self._let_go()

    def _let_go(self) -> None:
        for one in self.processes:
            one.child_conn.close()  # closed once or often: no matter
