"""A failed run becomes one line; what the docs say of telling people works."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import ModuleType

import dagster as dg
import pytest

from tcia_assets.defs.alarms import failure_line
from tcia_assets.sandbox.faults import Fault
from tcia_assets_tests.conftest import SMALL, Dagster
from tcia_assets_tests.repository import ROOT

DOCS = ROOT / "docs" / "alarms.md"


def failed(
    dagster: Dagster, job: str, *keys: str, tables: Sequence[str] = ()
) -> dg.RunFailureSensorContext:
    result = dagster.run(job, *keys, tables=tables, raise_on_error=False)
    assert not result.success
    [event] = [e for e in result.all_events if e.event_type == dg.DagsterEventType.RUN_FAILURE]
    run = dagster.instance.get_run_by_id(result.run_id)
    assert run is not None
    return dg.build_run_status_sensor_context(
        sensor_name="any", dagster_event=event, dagster_instance=dagster.instance, dagster_run=run
    ).for_run_failure()


def test_a_failed_run_is_one_line_with_job_collection_table_and_reason(dagster: Dagster) -> None:
    dagster.start_listed()
    dagster.sandbox.faults.add(Fault("html", "getPatient", times=0, collection=SMALL))
    context = failed(dagster, "tcia_refresh", SMALL, SMALL, tables=["patients", "studies"])
    line = failure_line(context)

    assert line.startswith(f"tcia_refresh of {SMALL!r} failed (run {context.dagster_run.run_id}): ")
    assert f"patients of {SMALL!r}: " in line
    assert "\n" not in line and len(line) <= 600 and line.isprintable()


def test_an_error_in_a_step_is_told_without_dagsters_wrapping(dagster: Dagster) -> None:
    dagster.sandbox.faults.add(Fault("html", "getCollectionValues", times=0))
    line = failure_line(failed(dagster, "tcia_list_collections"))

    assert line.startswith("tcia_list_collections failed (run ")
    assert "not a list of rows; gave up after 3 attempts" in line
    assert "tcia_assets.errors" not in line
    assert "STEP_FAILURE" not in line and "Error occurred while" not in line


def test_the_sensor_logs_the_line(dagster: Dagster, capfd: pytest.CaptureFixture[str]) -> None:
    dagster.sandbox.faults.add(Fault("html", "getCollectionValues", times=0))
    context = failed(dagster, "tcia_list_collections")
    [sensor] = [s for s in dagster.definitions().sensors or [] if s.name == "tcia_run_failed"]
    sensor(context)

    assert failure_line(context) in capfd.readouterr().err


@contextmanager
def webhook(posts: list[dict[str, str]]) -> Iterator[str]:
    class Taker(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posts.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Taker) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def test_the_sensor_in_the_docs_loads_and_posts_the_line(
    dagster: Dagster, monkeypatch: pytest.MonkeyPatch
) -> None:
    [program] = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    module = ModuleType("alarms_in_the_docs")
    exec(compile(program, str(DOCS), "exec"), module.__dict__)
    dg.Definitions.validate_loadable(module.defs)
    dagster.sandbox.faults.add(Fault("html", "getCollectionValues", times=0))
    context = failed(dagster, "tcia_list_collections")
    posts: list[dict[str, str]] = []
    with webhook(posts) as url:
        monkeypatch.setenv("SLACK_WEBHOOK_URL", url)
        module.notify_people(context)

    assert posts == [{"text": failure_line(context)}]
