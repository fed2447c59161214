"""What lies under deploy/: it parses, names options and routes that exist, and leaves the gateway the time it needs to end."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest
import typer
import yaml
from bench import sizing

from bylaw.cli import entry
from bylaw.serve.start import GRACE_S

ROOT: Final = Path(__file__).parents[1]
DEPLOY: Final = ROOT / "deploy"
PAGE: Final = (ROOT / "docs" / "operations.md").read_text("utf-8")


def manifests() -> dict[str, dict[str, Any]]:
    return {f"{one['kind']}/{one['metadata']['name']}": one for one in yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text())}


def lines() -> list[list[str]]:
    """Every command line of ours that stands there, without the program."""
    found = [shlex.split(one) for one in re.findall(r"ExecStart=/opt/bylaw/bin/bylaw (.*)", (DEPLOY / "bylaw.service").read_text())]
    found += [
        shlex.split(one.replace("'", ""))
        for one in re.findall(r"exec /opt/bylaw/bin/bylaw (.*)", (DEPLOY / "bylaw-backup.service").read_text())
    ]
    found += [re.findall(r'"([^"]+)"', one) for one in re.findall(r"^CMD (\[.*\])", (DEPLOY / "Containerfile").read_text(), re.M)]
    specs = [one["spec"]["template"]["spec"]["containers"][0] for one in manifests().values() if "template" in one["spec"]]
    return found + [one["args"] for one in specs]


def options(words: list[str]) -> tuple[set[str], set[str]]:
    """The options of a line, and those that its command has."""
    command: Any = typer.main.get_command(entry.app)
    for word in words:
        if not hasattr(command, "commands"):
            break
        command = command.commands[word]
    return {one.partition("=")[0] for one in words if one.startswith("--")}, {name for one in command.params for name in one.opts}


@pytest.mark.slow
def test_every_command_line_has_options_that_there_are() -> None:
    found = [options(words) for words in lines()]

    assert len(found) == 5
    assert [given - there for given, there in found] == [set()] * 5


def test_the_manifests_are_what_a_cluster_can_read_and_fit_each_other() -> None:
    found = manifests()
    gateway = found["StatefulSet/bylaw"]["spec"]["template"]["spec"]
    container = gateway["containers"][0]
    probes = {container[one]["httpGet"]["path"] for one in ("startupProbe", "livenessProbe", "readinessProbe")}
    mounted = {one["name"] for one in container["volumeMounts"]}
    there = {one["name"] for one in gateway["volumes"]} | {
        one["metadata"]["name"] for one in found["StatefulSet/bylaw"]["spec"]["volumeClaimTemplates"]
    }

    assert all({"apiVersion", "kind", "metadata", "spec"} <= set(one) for one in found.values())
    assert gateway["terminationGracePeriodSeconds"] > GRACE_S
    assert (probes, mounted) == ({"/healthz", "/readyz"}, there)
    assert found["StatefulSet/bylaw"]["spec"]["serviceName"] == found["Service/bylaw-each"]["metadata"]["name"]
    assert container["ports"][0]["containerPort"] == found["Service/bylaw"]["spec"]["ports"][0]["targetPort"]


def test_no_pod_may_more_than_it_needs() -> None:
    pods = [one["spec"]["template"]["spec"] for one in manifests().values() if "template" in one["spec"]]

    assert len(pods) == 2
    for pod in pods:
        assert pod["automountServiceAccountToken"] is False
        assert (pod["securityContext"]["runAsNonRoot"], pod["securityContext"]["seccompProfile"]) == (True, {"type": "RuntimeDefault"})
        for one in pod["containers"]:
            assert one["securityContext"]["allowPrivilegeEscalation"] is False
            assert one["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_the_units_are_hardened_alike() -> None:
    def kept(name: str) -> set[str]:
        text = (DEPLOY / name).read_text()
        return set(re.findall(r"^(?:Private|Protect|Restrict|NoNew|Lock|Capability|SystemCall|UMask)\w*=.*$", text, re.M))

    assert len(kept("bylaw.service")) > 15
    assert kept("bylaw.service") == kept("bylaw-backup.service")


def test_the_unit_leaves_requests_the_time_to_end() -> None:
    stop = re.search(r"^TimeoutStopSec=(\d+)$", (DEPLOY / "bylaw.service").read_text(), re.M)

    assert stop is not None
    assert int(stop[1]) > GRACE_S


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
def test_systemd_finds_nothing_wrong_with_the_units(tmp_path: Path) -> None:
    for path in DEPLOY.glob("bylaw*.*"):
        (tmp_path / path.name).write_text(path.read_text().replace("/opt/bylaw/bin/bylaw", sys.executable))  # a program that is there
    units = sorted(str(path) for path in tmp_path.glob("bylaw*"))
    done = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True, check=False, cwd=tmp_path)

    assert len(units) == 3
    assert (done.returncode, [one for one in done.stderr.splitlines() if "bylaw" in one]) == (0, [])


def test_the_page_shows_the_files_and_names_metrics_and_routes_that_there_are() -> None:
    source = "".join(path.read_text("utf-8") for path in (ROOT / "src" / "bylaw" / "serve").glob("*.py"))
    metrics = set(re.findall(r"`(bylaw_[a-z_]+)", PAGE))

    assert {f"deploy/{path.name}" for path in DEPLOY.iterdir()} <= set(re.findall(r"deploy/[\w.-]+", PAGE))
    assert len(metrics) > 3
    assert {one for one in metrics if f'"{one.removesuffix("_total")}"' not in source} == set()
    assert all(f'"{route}"' in source for route in ("/healthz", "/readyz", "/metrics"))


def test_the_sizing_table_is_what_the_command_makes_of_the_rows_beside_it() -> None:
    rows = PAGE.partition("<!-- measured -->")[2].partition("<!-- end -->")[0].splitlines()
    shown = PAGE.partition("<!-- sizing -->\n")[2].partition("\n<!-- end -->")[0]

    assert shown == sizing.table(sizing.measured(rows))


def test_a_sizing_reads_rows_that_the_benches_print() -> None:
    printed = "".join((ROOT / "bench" / name).read_text("utf-8") for name in ("gateway.py", "start.py"))

    assert [one for one in (sizing.REQUEST, sizing.CHUNK, sizing.MEMORY) if f'"{one}' not in printed] == []


def test_a_sizing_without_its_measurements_is_refused() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench.sizing"], input="measured value\n", capture_output=True, text=True, check=False, cwd=ROOT
    )

    assert (done.returncode, done.stderr.startswith("not measured: gateway: governed")) == (2, True)
