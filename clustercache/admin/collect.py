"""Ask every node that any node knows."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from clustercache._core.address import Address
from clustercache.admin.link import NodeLink, RefusedError, parse_info
from clustercache.admin.views import NodeView, fetch_view
from clustercache.exceptions import AdminError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable, Sequence

    from clustercache.admin.nodes_text import NodeLine
    from clustercache.config import ClusterConfig

_AT_ONCE = 32
_SETTINGS = ("cluster-node-timeout", "cluster-require-full-coverage")


@dataclass(frozen=True, slots=True)
class Answer:
    """What one node answered.

    Attributes:
        address: The address that was asked.
        view: What it says of the cluster; None when it did not answer.
        info: INFO.
        settings: CONFIG GET of what `check` looks at; empty where that is denied.
        error: Why there is no view, or "".
    """

    address: Address
    view: NodeView | None = None
    info: dict[str, str] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)
    error: str = ""


@dataclass(frozen=True, slots=True)
class Collected:
    """All answers, and one line for each node that anyone knows.

    Attributes:
        answers: By node id; nodes that did not answer are missing.
        lines: By node id: its own line, else the one with the greatest epoch.
        errors: By node id: why a node did not answer.
    """

    answers: dict[str, Answer]
    lines: dict[str, NodeLine]
    errors: dict[str, str]

    @property
    def views(self) -> list[NodeView]:
        """The views of the nodes that answered."""
        return [answer.view for answer in self.answers.values() if answer.view]

    def name(self, node_id: str) -> str:
        """Return a node's address as text."""
        line = self.lines.get(node_id)
        return str(line.address) if line else f"unknown node {node_id[:8]}"


def collect(config: ClusterConfig, tls: ssl.SSLContext | None) -> Collected:
    """Ask the seeds, then whomever they know, until nobody new is named.

    Raises:
        AdminError: No seed answered.
    """
    asked: dict[Address, Answer] = {}
    todo = list(config.seeds)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        while todo:
            for answer in pool.map(lambda address: _ask(address, config, tls), todo):
                asked[answer.address] = answer
            if not any(answer.view for answer in asked.values()):
                raise AdminError("; ".join(answer.error for answer in asked.values()))
            todo = _unasked(asked.values(), config)
    return _joined(list(asked.values()), config)


def _ask(address: Address, config: ClusterConfig, tls: ssl.SSLContext | None) -> Answer:
    link = NodeLink(address, config, tls, timeout=max(config.socket_connect_timeout, 1.0))
    try:
        view = fetch_view(link)
        info = parse_info(link.call("INFO"))
        return Answer(address, view, info, _settings(link))
    except AdminError as error:
        return Answer(address, error=str(error))
    finally:
        link.close()


def _settings(link: NodeLink) -> dict[str, str]:
    found = {}
    for name in _SETTINGS:
        try:
            reply = link.call("CONFIG", "GET", name)
        except RefusedError:
            break  # not for this user; `check` does without
        found.update(dict(zip(reply[::2], reply[1::2], strict=True)))
    return found


def _unasked(answers: Iterable[Answer], config: ClusterConfig) -> list[Address]:
    answers = list(answers)
    views = [answer.view for answer in answers if answer.view]
    seen = {view.node_id for view in views}
    addresses = {answer.address for answer in answers}
    fresh = {
        _endpoint(line, config)
        for view in views
        for line in view.members.values()
        if line.node_id not in seen and "noaddr" not in line.flags
    }
    return sorted(fresh - addresses)


def _endpoint(line: NodeLine, config: ClusterConfig) -> Address:
    if config.address_remap is None:
        return line.address
    return Address(*config.address_remap((line.address.host, line.address.port)))


def _joined(asked: Sequence[Answer], config: ClusterConfig) -> Collected:
    answers = {answer.view.node_id: answer for answer in asked if answer.view}
    lines: dict[str, NodeLine] = {}
    for answer in answers.values():
        for line in answer.view.members.values() if answer.view else ():
            if line.node_id not in lines or lines[line.node_id].epoch < line.epoch:
                lines[line.node_id] = line
    for node_id, answer in answers.items():
        if answer.view:
            lines[node_id] = answer.view.myself
    failed = {answer.address: answer.error for answer in asked if not answer.view}
    errors = {
        node_id: failed.get(_endpoint(line, config), "no address is known")
        for node_id, line in lines.items()
        if node_id not in answers
    }
    return Collected(answers, lines, errors)
