# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run ansible-test on this checkout: python tools/run_ansible_test.py sanity [--test NAME] [FILE...]

ansible-test works only in a folder called ansible_collections/<namespace>/<name>, refuses links to it, and asks git
which files there are: in a folder that git ignores it finds none and reports success. So the files are copied to a
stage that is a repository of its own.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / ".ansible" / "test"
STAGE = WORK / "ansible_collections" / "evergreen" / "eks"
HOME = WORK / "home"  # keeps ansible-test's virtual environments and caches out of the user's home, and between runs

GIT_IS_MISSING = """\
git is needed: ansible-test asks it for the files of the collection.
  Debian, Ubuntu:  sudo apt install git
  Fedora:          sudo dnf install git
  macOS:           xcode-select --install"""


def main(arguments: list[str]) -> int:
    if not shutil.which("git"):
        sys.exit(GIT_IS_MISSING)
    WORK.mkdir(parents=True, exist_ok=True)
    with one_at_a_time(WORK / "lock"):
        stage_files(tracked_and_new_files())
        provide_pip()
        command = ["ansible-test", *arguments, "--python", f"{sys.version_info.major}.{sys.version_info.minor}"]
        return subprocess.run(command, cwd=STAGE, env=environment(), check=False).returncode


@contextlib.contextmanager
def one_at_a_time(path: Path) -> Iterator[None]:
    """Two runs would share the stage: the second waits for the first."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def tracked_and_new_files() -> list[Path]:
    """The files of this checkout that git does not ignore, relative to its top."""
    # safe.directory: root may work in a checkout that belongs to somebody else, as in containers.
    git = ["git", "-c", f"safe.directory={ROOT}", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(git, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    files = sorted({Path(name) for name in listed.split("\0") if name and (ROOT / name).is_file()})
    if not files:
        sys.exit("git lists no files here: ansible-test needs a git checkout of the collection")
    return files


def stage_files(files: list[Path]) -> None:
    """Copy the files to the stage, as a git repository of its own."""
    shutil.rmtree(STAGE, ignore_errors=True)
    for name in files:
        (STAGE / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, STAGE / name)
    for git in (["git", "init", "--quiet"], ["git", "add", "--all"]):
        subprocess.run(git, cwd=STAGE, check=True)


def provide_pip() -> None:
    """Put our stand-in where ansible-test keeps the get-pip script of the pip release that it wants."""
    package = Path(importlib.util.find_spec("ansible_test").origin).parent
    wanted = re.search(r"pip='([0-9.]+)'", (package / "_internal" / "python_requirements.py").read_text())
    if wanted:
        script = HOME / ".ansible" / "test" / "cache" / f"get_pip_{wanted[1].replace('.', '_')}.py"
        script.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / "tools" / "get_pip.py", script)


def environment() -> dict[str, str]:
    """The user's environment, without pyenv's shims: they promise Python versions that do not run."""
    folders = [folder for folder in os.environ.get("PATH", "").split(os.pathsep) if "shims" not in Path(folder).parts]
    path = os.pathsep.join([str(Path(sys.executable).parent), *folders])
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    return {**kept, "PATH": path, "HOME": str(HOME)}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
