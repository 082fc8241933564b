"""What keeps a client from learning the topology, and which of it no waiting can mend."""

from __future__ import annotations

from typing import TYPE_CHECKING

from redis.exceptions import AuthenticationError, NoPermissionError

from clustercache._commands import to_error
from clustercache._core import decisions
from clustercache._core.sources import WrongKindError
from clustercache._core.wire import ServerError
from clustercache._events import Refused
from clustercache._trust import UNTRUSTED, without_code
from clustercache.exceptions import ConfigurationError, NoClusterError, UntrustedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from clustercache._core.address import Address


def no_cluster(failures: Mapping[Address, Exception]) -> NoClusterError:
    """Return what is raised where nobody told the topology; what each said instead is in it."""
    msg = "no seed gave the topology: check the URL, and that a server or sentinel listens there"
    return NoClusterError(msg, attempts=[f"{node}: {error}" for node, error in failures.items()])


def _refused_database(node: Address, refusal: Exception, db: int) -> ConfigurationError | None:
    """Return what to raise where a server refused the database itself, and not the user."""
    if not isinstance(refusal, Refused) or refusal.step != "SELECT" or refusal.error.code != "ERR":
        return None
    return ConfigurationError(
        f"{node} has no database {db} ({refusal.error.text}): a cluster has only 0 unless it is "
        "Valkey 9 with cluster-databases, and a server as many as its option databases says"
    )


def raise_if_refused(failures: Mapping[Address, Exception], db: int) -> None:
    """Raise what no waiting can mend: wrong credentials, say, or no such database."""
    for node, refusal in failures.items():
        error = refusal.error if isinstance(refusal, Refused) else refusal
        if isinstance(error, WrongKindError):
            raise no_cluster({node: error})
        if not isinstance(error, ServerError):
            continue
        if unusable := _refused_database(node, refusal, db):
            raise unusable
        if decisions.classify(error, node).trouble in decisions.FINAL:
            if error.code == UNTRUSTED:
                raise UntrustedError(without_code(error), node=str(node))
            raised = to_error(error)
            if isinstance(raised, (AuthenticationError, NoPermissionError)):
                raise raised
            raise no_cluster({node: error})
