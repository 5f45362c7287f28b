"""Run the code of tutorials against a sandbox, and compare what it prints with what they show.

    python scripts/run_tutorials.py docs/quick-start.md docs/tutorials/*.md
    python scripts/run_tutorials.py --write docs/quick-start.md   write the output into the page

In a page, one after the other in one folder:

    ```bash                     is run; the variables that it exports stay
    ```python                   is run in one Python process for the page
    ```sql                      is run by `tcia-assets query`
    ```yaml title="a/b.yaml"    is written to that file, whatever the language
    ```text                     is what the block before it prints; `...` stands for anything, and a
                                time for any time
    ```console                  is not run
"""

from __future__ import annotations

import argparse
import doctest
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
SANDBOX = "127.0.0.1:8042"  # in the pages; here it listens at a free port
FENCE = re.compile(
    r"^```(?P<kind>\w+)(?P<options>[^\n]*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL
)
TITLE = re.compile(r'title="([^"]+)"')
SAME = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)?")
SECONDS = 300
# Runs code that arrives as lines of JSON, and answers with what it printed.
PYTHON = """
import contextlib, io, json, os, sys, traceback
names = {"__name__": "__main__"}
for line in sys.stdin:
    block = json.loads(line)
    os.environ.update(block["environment"])
    printed, error = io.StringIO(), ""
    with contextlib.redirect_stdout(printed):
        try:
            exec(compile(block["code"], block["name"], "exec"), names)
        except BaseException:
            error = traceback.format_exc()
    print(json.dumps({"printed": printed.getvalue(), "error": error}), flush=True)
"""


class TutorialFailed(Exception):
    """A block of a page failed, or printed something else than the page shows."""


@dataclass(frozen=True)
class Block:
    """A fenced block of a page.

    Attributes:
        kind: Its language.
        title: File to write it to; "" for none.
        code: Its text.
        line: Its first line in the page.
        span: Where its text is in the page.
    """

    kind: str
    title: str
    code: str
    line: int
    span: tuple[int, int]


def blocks(text: str) -> list[Block]:
    """Return the fenced blocks of a page."""
    found = []
    for match in FENCE.finditer(text):
        title = TITLE.search(match["options"])
        line = text.count("\n", 0, match.start()) + 1
        name = title[1] if title else ""
        found.append(Block(match["kind"], name, match["code"], line, match.span("code")))
    return found


class Session:
    """A folder in which the blocks of one page run.

    Args:
        folder: The folder, which is empty but for the repository's examples.
        address: Host and port of the sandbox.
    """

    def __init__(self, folder: Path, address: str) -> None:
        self.folder, self.address = folder, address
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("TCIA_", "DAGSTER_"))}
        path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
        # `dg` prints boxes as wide as the terminal, and colours where it takes it for one.
        chosen = {"PATH": path, "COLUMNS": "100", "NO_COLOR": "1", "VIRTUAL_ENV": str(BIN.parent)}
        self.environment = kept | chosen | {"DAGSTER_DISABLE_TELEMETRY": "yes"}
        self._python: subprocess.Popen[str] | None = None

    def run(self, block: Block) -> str:
        """Run a block, or write it to its file, and return what it printed.

        Raises:
            TutorialFailed: It ended with an error.
        """
        code = block.code.replace(SANDBOX, self.address)
        if block.title:
            path = self.folder / block.title
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(code, encoding="utf-8")
            return ""
        if block.kind == "python":
            printed = self._run_python(code, f"line {block.line}")
        elif block.kind == "sql":
            printed = self._run_bash('tcia-assets query "$STATEMENT"', {"STATEMENT": code})
        else:
            printed = self._run_bash(code, {})
        return printed.replace(self.address, SANDBOX)

    def _run_bash(self, code: str, more: dict[str, str]) -> str:
        with tempfile.TemporaryDirectory() as place:
            after = Path(place) / "environment"
            script = f"set -euo pipefail\n{code}\nenv -0 > {after}\n"
            done = subprocess.run(
                ["bash", "-c", script],
                cwd=self.folder,
                env=self.environment | more,
                capture_output=True,
                text=True,
                timeout=SECONDS,
                check=False,
            )
            if done.returncode:
                raise TutorialFailed(f"{done.stdout}{done.stderr}\nexit code {done.returncode}")
            variables = after.read_text(encoding="utf-8").split("\0")
        found = dict(each.split("=", 1) for each in variables if "=" in each)
        self.environment |= {k: v for k, v in found.items() if k not in more and k != "PWD"}
        return done.stdout

    def _run_python(self, code: str, name: str) -> str:
        if self._python is None:
            self._python = subprocess.Popen(
                [sys.executable, "-c", PYTHON],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        block = {"code": code, "name": name, "environment": self.environment}
        if self._python.stdin is None or self._python.stdout is None:
            raise TutorialFailed("Python has no pipes")
        self._python.stdin.write(json.dumps(block) + "\n")
        self._python.stdin.flush()
        answer = self._python.stdout.readline()
        if not answer:
            raise TutorialFailed(f"Python ended with {self._python.wait()}")
        reply = json.loads(answer)
        if reply["error"]:
            raise TutorialFailed(reply["printed"] + reply["error"])
        return str(reply["printed"])

    def close(self) -> None:
        """End Python."""
        if self._python is not None:
            self._python.communicate(timeout=60)


def run_page(page: Path, folder: Path, address: str, *, write: bool = False) -> int:
    """Run the blocks of a page.

    Args:
        page: The page.
        folder: An empty folder to run in.
        address: Host and port of a sandbox that nothing has changed.
        write: Whether to write what is printed into the page, in place of comparing it.

    Returns:
        The number of blocks that ran.

    Raises:
        TutorialFailed: A block failed, or printed something else.
    """
    text = page.read_text(encoding="utf-8")
    shutil.copytree(ROOT / "examples", folder / "tcia_assets" / "examples")  # as in a clone
    session = Session(folder, address)
    printed, count, changes = "", 0, []
    try:
        for block in blocks(text):
            if block.kind == "console":
                continue
            place = f"{page.name}, line {block.line}"
            if block.kind == "text" and not block.title:
                if is_same(block.code, printed):
                    continue
                if not write:
                    raise TutorialFailed(f"{place}: shown\n{block.code}\nprinted\n{printed}")
                changes.append((block.span, trimmed(printed)))
                continue
            try:
                printed = session.run(block)
            except TutorialFailed as error:
                raise TutorialFailed(f"{place}: {error}") from None
            count += 1
    finally:
        session.close()
    for (start, end), new in reversed(changes):
        text = text[:start] + new + text[end:]
    if changes:
        page.write_text(text, encoding="utf-8")
    return count


def is_same(shown: str, printed: str) -> bool:
    """Return whether a block printed what the page shows."""
    shown, printed = (TIME.sub("TIME", text) for text in (shown, printed))
    return doctest.OutputChecker().check_output(shown, printed, SAME)


def trimmed(printed: str) -> str:
    """Return lines without blanks at their ends."""
    return "\n".join(line.rstrip() for line in printed.strip("\n").splitlines()) + "\n"


@contextmanager
def sandbox(folder: Path) -> Iterator[str]:
    """Run a sandbox; yields host and port."""
    log = folder / "sandbox.log"
    command = [BIN / "tcia-assets", "sandbox", "--port", "0"]
    with (
        log.open("wb") as output,
        subprocess.Popen(command, stdout=output, stderr=output) as server,
    ):
        try:
            while not (found := re.search(r"http://(127\.0\.0\.1:\d+)", log.read_text())):
                if server.poll() is not None:
                    raise TutorialFailed(f"the sandbox ended: {log.read_text()}")
            yield found[1]
        finally:
            server.terminate()


def main() -> None:
    """Run the pages that are named."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("pages", nargs="+", type=Path)
    parser.add_argument("--write", action="store_true", help="write what is printed into the pages")
    options = parser.parse_args()
    for page in options.pages:
        with tempfile.TemporaryDirectory() as place:
            root = Path(place)
            (root / "work").mkdir()
            with sandbox(root) as address:
                count = run_page(page, root / "work", address, write=options.write)
        print(f"{page}: {count} blocks", flush=True)


if __name__ == "__main__":
    main()
