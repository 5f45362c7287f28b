"""`make package`: build the package, and use the wheel as somebody who has nothing else.

In a fresh environment outside the checkout: the wheel alone imports, is typed and has its version.
`tcia-assets demo` says which command installs what it needs; that command is run as it is, and then
the demo from beginning to end.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

from rattler_build import Stage0Recipe, VariantConfig

ROOT = Path(__file__).resolve().parents[1]
DIST = ROOT / "build" / "dist"
MAX_BYTES = 5_000_000  # of an sdist: more is a data folder or a benchmark that got into it
NEEDED = ("py.typed", "sandbox/catalogue.parquet", "demo/lung_ct.yaml")
HINT = re.compile(r"which is not installed: (pip install .*)$", re.MULTILINE)


def main() -> None:
    wheel = build()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        venv.create(folder / "v", with_pip=True)
        user = User(folder)
        user.run("pip", "install", "--quiet", str(wheel))
        version = user.run("python", "-c", "import tcia_assets as t; print(t.__version__)").strip()
        if version not in wheel.name:
            sys.exit(f"{wheel.name} says that it is {version}")
        print(user.run("tcia-assets", "--version").strip(), flush=True)
        hint = HINT.search(user.run("tcia-assets", "demo", code=2))
        if not hint:
            sys.exit("the demo does not say what to install")
        print(f"$ {hint[1]}", flush=True)
        user.run(*shlex.split(hint[1].replace("pip install", "pip install --quiet", 1)))
        told = user.run("tcia-assets", "demo", "--keep", "demo")
        if "8. " not in told or not (folder / "demo" / "catalogue" / "index.html").exists():
            sys.exit(told)
        print(told.strip().splitlines()[-1])
    print(f"{wheel.name} works alone")


def build() -> Path:
    """Build sdist and wheel, check both and the recipe, and return the wheel."""
    shutil.rmtree(DIST, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "build", "--outdir", DIST, ROOT], check=True, stdout=-3)
    files = sorted(DIST.iterdir())
    subprocess.run([sys.executable, "-m", "twine", "check", "--strict", *files], check=True)
    [sdist], [wheel] = DIST.glob("*.tar.gz"), DIST.glob("*.whl")
    print(f"{sdist.name}: {sdist.stat().st_size / 1e6:.1f} MB", flush=True)
    if sdist.stat().st_size > MAX_BYTES:
        sys.exit(f"{sdist.name} is larger than {MAX_BYTES} bytes")
    recipe = (ROOT / "recipe" / "recipe.yaml").read_text(encoding="utf-8")
    variant = VariantConfig({"python_min": ["3.11"]})
    print(*(each.recipe for each in Stage0Recipe.from_yaml(recipe).render(variant)), flush=True)
    names = set(zipfile.ZipFile(wheel).namelist())
    if missing := [name for name in NEEDED if f"tcia_assets/{name}" not in names]:
        sys.exit(f"{wheel.name} lacks {missing}")
    return wheel


class User:
    """Somebody with an environment of their own, in a folder that is no checkout."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("TCIA_", "PYTHON"))}
        self.environment = kept | {"DAGSTER_DISABLE_TELEMETRY": "yes"}

    def run(self, program: str, *arguments: str, code: int = 0) -> str:
        """Run a program of the environment, and return what it printed, also as errors."""
        done = subprocess.run(
            [self.folder / "v" / "bin" / program, *arguments],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode != code:
            sys.exit(f"{program} {' '.join(arguments)}: {done.returncode}\n{done.stdout}")
        return done.stdout


if __name__ == "__main__":
    main()
