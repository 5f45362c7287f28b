"""Where the sandbox serves, and that nobody waits for others longer than need be."""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from tcia_assets.catalog import DIALECTS
from tcia_assets.errors import UnknownName, UsageError
from tcia_assets.sandbox.server import Sandbox, description
from tcia_assets_tests.repository import ROOT

from .api_client import ApiClient


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.1", "example.org", "::"])
def test_it_serves_on_loopback_only(host: str) -> None:
    with pytest.raises(UsageError, match="loopback"):
        Sandbox(host=host)


def test_a_port_in_use_is_an_error_that_names_it(sandbox: Sandbox) -> None:
    with pytest.raises(UsageError, match=str(sandbox.port)):
        Sandbox(port=sandbox.port)


def test_its_urls_are_the_public_ones_with_a_different_host(sandbox: Sandbox) -> None:
    for each in DIALECTS:
        tail = each.base_url.split("cancerimagingarchive.net")[1]
        assert sandbox.base_url(each.name) == f"http://127.0.0.1:{sandbox.port}{tail}"
        assert sandbox.base_url(each.name) in "\n".join(description(sandbox))
    with pytest.raises(UnknownName):
        sandbox.base_url("nbia-v5")


def test_after_the_block_connections_are_refused() -> None:
    with Sandbox() as sandbox:
        assert requests.get(f"{sandbox.base_url()}/getCollectionValues", timeout=5).json()
    with pytest.raises(requests.exceptions.ConnectionError):
        requests.get(f"{sandbox.url}/nbia-api/services/up", timeout=5)


def test_many_requests_run_at_once(api: ApiClient, sandbox: Sandbox) -> None:
    asked = {"Collection": "RIDER Lung CT"}
    expected = len(api.rows("nbia-v4", "getSeries", **asked))

    def one(number: int) -> int:
        name = "nbia-v4" if number % 2 else "nbia-v1"
        reply = requests.get(f"{sandbox.base_url(name)}/getSeries", asked, timeout=20)
        return len(reply.json())

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert set(pool.map(one, range(32))) == {expected}
    assert 1 < sandbox.requests.most_at_once <= 8
    assert sandbox.requests["getSeries"] == 33


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_a_signal_and_leaves_no_files(how: signal.Signals, tmp_path: Path) -> None:
    program = "from tcia_assets.sandbox.server import serve; serve(port=0)"
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    ) as process:
        try:
            assert process.stdout
            first = process.stdout.readline()
            [url] = re.findall(r"http://\S+", first)
            assert requests.get(f"{url}/nbia-api/services/up", timeout=10).text == "up"
            assert list(tmp_path.iterdir())
            process.send_signal(how)
            assert process.wait(10) == 0
            assert not list(tmp_path.iterdir())
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()


@pytest.mark.slow
def test_it_stops_while_requests_are_running(tmp_path: Path) -> None:
    program = """
import threading, time, requests
from tcia_assets.sandbox.faults import Fault
from tcia_assets.sandbox.server import Sandbox
with Sandbox() as sandbox:
    sandbox.faults.add(Fault("hang", "getPatient", seconds=60))
    def api(endpoint):
        try:
            while True:
                requests.get(f"{sandbox.base_url()}/{endpoint}", timeout=60)
        except requests.exceptions.RequestException:
            pass
    asking = [threading.Thread(target=api, args=(e,)) for e in ("getPatient", *["getSeries"] * 4)]
    for each in asking:
        each.start()
    time.sleep(0.3)
    began = time.monotonic()
assert time.monotonic() - began < 5
for each in asking:
    each.join()
"""
    done = subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, text=True, cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)}, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_full_catalogue_is_served_with_little_memory(tmp_path: Path) -> None:
    pytest.importorskip("idc_index_data")
    # In a file, because in `python -c` DuckDB believes to be talking to a person.
    program = tmp_path / "program.py"
    program.write_text("""
import requests
from pathlib import Path
from tcia_assets.sandbox.server import Sandbox
with Sandbox(full=True) as sandbox:
    base = sandbox.base_url()
    print(len(requests.get(f"{base}/getCollectionValues", timeout=30).json()))
    sent = {"Collection": "4D-Lung"}
    print(len(requests.get(f"{base}/getSeries", params=sent, timeout=30).json()))
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else ["VmHWM: 0 kB"]
    print(*[int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM")])
""")
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, str(program)],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    collections, series, megabytes = map(int, done.stdout.split())
    assert collections > 100
    assert series > 5000
    assert megabytes < 600
