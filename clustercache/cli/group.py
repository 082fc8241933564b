"""The group of all commands, and how errors end."""

from __future__ import annotations

import errno
import logging
from typing import Any

import click

import clustercache
from clustercache.cli.check import check
from clustercache.cli.create import create
from clustercache.cli.demo import demo
from clustercache.cli.execute import execute
from clustercache.cli.info import info
from clustercache.cli.sessions import sessions
from clustercache.cli.up import up


class Misuse(click.ClickException):
    """One line on stderr, and the exit code of a wrong usage."""

    exit_code = 2


class Commands(click.Group):
    """A group whose commands end in a line, not a traceback, when the package raises an error."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that was chosen."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:
            failure = _failure(error)
            if failure is None:
                raise
            raise failure from error


def _failure(error: Exception) -> click.ClickException | None:
    """Return what to say of an expected error; None for what is a defect of ours."""
    from redis import RedisError

    from clustercache.exceptions import ConfigurationError, InvalidArgumentError

    if isinstance(error, OSError):
        # click ends quietly when nobody reads stdout any more.
        return None if error.errno == errno.EPIPE else click.ClickException(str(error))
    if isinstance(error, (ConfigurationError, InvalidArgumentError)):
        return Misuse(str(error))
    return click.ClickException(str(error)) if isinstance(error, RedisError) else None


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(clustercache.__version__, prog_name="clustercache")
def commands() -> None:
    """Build, check and try out Redis and Valkey clusters, and administer their sessions.

    Which cluster: --url, else CLUSTERCACHE_URL, VALKEY_URL or REDIS_URL.

    Exit codes: 0 all is well, 1 something is wrong or failed, 2 wrong usage.
    """
    # What the package logs is for applications that ask for it: here it would break the tables.
    logging.getLogger("clustercache").addHandler(logging.NullHandler())


for command in (demo, up, create, check, info, execute, sessions):
    commands.add_command(command)
