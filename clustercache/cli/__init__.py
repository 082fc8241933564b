"""The command line: `clustercache up`, `create`, `check`, `info`, `exec`, `demo`,
`sessions`.

Exit codes: 0 all is well; 1 something was found wrong, or failed; 2 the command was used wrongly.
Every command has `--json`. Modules here import only click at their top: what a command needs is
imported when it runs, so that `--help` is quick.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec


def main() -> None:
    """Run the command line, or say how to install what it needs."""
    missing = [name for name in ("click", "rich") if find_spec(name) is None]
    if missing:
        needs = " and ".join(missing)
        print(f"Error: {needs} missing; pip install 'clustercache[cli]'", file=sys.stderr)
        raise SystemExit(2)
    from clustercache.cli.group import commands

    commands(prog_name="clustercache")
