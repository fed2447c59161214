"""Ray gives the rows this process gives; a worker killed in the middle loses and doubles nothing; a killed driver goes on."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from bylaw.errors import ModelError
from bylaw.models.generate import Plan, Row, map_rows, spread
from bylaw.models.loading import open_model
from bylaw.models.manners import Manners
from bylaw.models.spent import Spent
from bylaw.models.targets import parse
from bylaw.types import Message, Sampling
from tests.models.endpoint import fail, say, serve

pytest.importorskip("ray", reason="Ray comes with the extra [scale]")
pytestmark = [pytest.mark.slow, pytest.mark.long]  # a cluster takes six seconds to start, and ten of CPU

RAY = Plan("ray", workers=2, batch_rows=3)
PATIENCE_S = 120


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """One cluster of two for the tests that do not look at how one is started and stopped."""
    from bylaw.models import ray_map

    with ray_map.cluster(RAY):
        yield


def numbered(count: int) -> list[Row]:
    return [{"id": f"r{i}", "n": i, "odd": None if i % 2 else "\u2028\ud800", "deep": [{"x": [i]}]} for i in range(count)]


def work(folder: str, fatal: Callable[[Row, Path], bool], rows: list[Row]) -> list[Row]:
    """Keep a note of each row that is finished; die where it is fatal to go on."""
    if any(fatal(row, Path(folder)) for row in rows):
        os.kill(os.getpid(), signal.SIGKILL)
    if any(row["n"] == 20 for row in rows):
        raise ValueError("twenty")
    time.sleep(0.02)
    for row in rows:
        (Path(folder) / f"{row['id']}-{os.getpid()}").touch()
    return [{**row, "n": row["n"] * 2} for row in rows]


def together(row: Row, folder: Path) -> bool:
    """Wait until two processes have begun."""
    (folder / f"here-{os.getpid()}").touch()
    late = time.monotonic() + PATIENCE_S
    while len(list(folder.glob("here-*"))) < 2 and time.monotonic() < late:
        time.sleep(0.01)
    return False


def never(row: Row, folder: Path) -> bool:
    return False


def once(row: Row, folder: Path) -> bool:
    if row["n"] != 13 or (folder / "killed").exists():
        return False
    (folder / "killed").touch()
    return True


def always(row: Row, folder: Path) -> bool:
    return bool(row["n"] == 13)


def held(row: Row, folder: Path) -> bool:
    """Wait with the later rows until there is a file `go`."""
    late = time.monotonic() + PATIENCE_S
    while row["n"] >= 30 and not (folder / "go").exists() and time.monotonic() < late:
        time.sleep(0.01)
    return False


def processes(folder: Path) -> set[str]:
    return {file.name.partition("-")[2] for file in folder.glob("r*-*")}


def test_ray_gives_the_rows_and_the_failures_this_process_gives(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    import ray

    here = map_rows(numbered(50), partial(work, str(tmp_path), never), Plan(batch_rows=3))
    (tmp_path / "ray").mkdir()
    there = map_rows(numbered(50), partial(work, str(tmp_path / "ray"), together), RAY)

    assert there == here
    assert (len(there.rows), set(there.failed)) == (47, {"r18", "r19", "r20"})
    assert len(processes(tmp_path / "ray")) == 2
    assert str(os.getpid()) not in processes(tmp_path / "ray")
    assert not ray.is_initialized()
    assert capfd.readouterr() == ("", "")


DRIVER = """
import sys
from functools import partial
from pathlib import Path
from bylaw.models.generate import Plan, map_rows
from tests.models.test_ray_map import held, numbered, work
if __name__ == "__main__":
    found = map_rows(numbered(60), partial(work, sys.argv[1], held), Plan("ray", 2, 3), Path(sys.argv[1]) / "work" / "journal")
    print([row["id"] for row in found.rows], found.reused > 0)
"""


def test_a_killed_driver_goes_on_where_it_ended(tmp_path: Path) -> None:
    journal = tmp_path / "work" / "journal"
    line = [sys.executable, "-c", DRIVER, str(tmp_path)]
    driver = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + PATIENCE_S
    while (not journal.exists() or journal.read_bytes().count(b"\n") < 4) and driver.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    driver.kill()
    killed = driver.wait()
    kept = journal.read_bytes().count(b"\n")
    (tmp_path / "go").touch()

    again = subprocess.run(line, capture_output=True, text=True, check=False, timeout=PATIENCE_S)

    expected = [f"r{i}" for i in range(60) if i not in (18, 19, 20)]
    keys = [json.loads(entry)["key"] for entry in journal.read_text().splitlines()]
    assert (killed, again.stdout, again.stderr) == (-signal.SIGKILL, f"{expected} True\n", "")
    assert 4 <= kept < 10
    assert len(keys) == len(set(keys)) == 19


def test_a_cluster_that_is_not_there_is_one_error(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ModelError, match="Ray does not start") as caught:
        map_rows(numbered(1), partial(work, "", never), Plan("ray", address="127.0.0.1:1"))

    assert "\n" not in caught.value.what


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("workers", [1, 2])
def test_a_worker_killed_in_the_middle_loses_and_doubles_nothing(tmp_path: Path, workers: int, capfd: pytest.CaptureFixture[str]) -> None:
    fn = partial(work, str(tmp_path), once)
    journal = tmp_path / "work" / "journal"

    found = map_rows(numbered(30), fn, Plan("ray", workers, batch_rows=2), journal)

    assert (tmp_path / "killed").exists()
    assert [row["id"] for row in found.rows] == [f"r{i}" for i in range(30) if i not in (20, 21)]
    assert set(found.failed) == {"r20", "r21"}
    assert sorted(row["id"] for line in journal.read_text().splitlines() for row in json.loads(line)["rows"]) == sorted(
        row["id"] for row in found.rows
    )
    assert capfd.readouterr().out == ""


@pytest.mark.usefixtures("cluster")
def test_a_batch_that_kills_every_worker_is_given_up_and_the_others_are_kept(tmp_path: Path) -> None:
    found = map_rows(numbered(16), partial(work, str(tmp_path), always), Plan("ray", workers=2, batch_rows=2, tries=2))

    assert [row["id"] for row in found.rows] == [f"r{i}" for i in range(16) if i not in (12, 13)]
    assert found.failed == dict.fromkeys(("r12", "r13"), "its worker died 2 times")


@pytest.mark.usefixtures("cluster")
def test_a_model_answers_over_ray_as_in_this_process(tmp_path: Path) -> None:
    (tmp_path / "script").write_text(json.dumps({"find": "(.+)", "say": r"said \1"}))
    target = f"scripted:{tmp_path / 'script'}"
    conversations = [[Message("user", str(i % 7))] for i in range(30)]
    sampling = Sampling(thinking=False)

    found = spread(target, RAY, tmp_path / "work").generate(conversations, sampling)

    assert found == open_model(parse(target)).generate(conversations, sampling)


@pytest.mark.usefixtures("cluster")
def test_an_endpoint_is_asked_over_ray_and_its_doors_are_told_apart(tmp_path: Path) -> None:
    manners = Manners(cache=tmp_path / "cache", backoff_s=0.001)
    conversations = [[Message("user", str(i))] for i in range(12)]
    sampling = Sampling(thinking=False)

    with serve(lambda ask: fail(400, "no") if ask.text == "5" else say(ask.text)) as server:
        model = spread(server.target(), RAY, manners=manners)
        found = model.generate(conversations, sampling)
        calls = len(server.calls)
        server.script = lambda _: fail(401, "who are you")
        with pytest.raises(ModelError, match="who are you"):
            spread(server.target("other"), RAY, manners=manners).generate(conversations, sampling)

    assert [one.answer for one in found] == ["" if i == 5 else str(i) for i in range(12)]
    assert (found[5].fault, calls) == ("http 400: no", 12)
    assert model.spent == Spent(calls=12, failed=1, prompt_tokens=110, completion_tokens=55)
