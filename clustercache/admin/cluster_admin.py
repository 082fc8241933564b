"""`ClusterAdmin`: build a cluster of bare nodes, check it, look into it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Self

from clustercache._core.address import DEFAULT_PORT, Address
from clustercache.admin import checks
from clustercache.admin.collect import collect
from clustercache.admin.creation import Creation, Progress
from clustercache.admin.facts import can_reach, gather_facts
from clustercache.admin.link import NodeLink
from clustercache.admin.overview import overview
from clustercache.admin.plan import NodeFacts, Plan, plan
from clustercache.config import ClusterConfig, from_url
from clustercache.exceptions import AdminError, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from clustercache.admin.reports import CheckReport, ClusterInfo

_AT_ONCE = 32


class ClusterAdmin:
    """Administration of one cluster, or of the nodes that shall become one.

    Args:
        config: Addresses, credentials and TLS. The seeds are the nodes to make a cluster of, or
            nodes of the cluster to look into.
        timeout: Seconds that the nodes may take to join, and again to agree and be in sync.
    """

    def __init__(self, config: ClusterConfig, *, timeout: float = 60.0) -> None:
        self._config = config
        self._timeout = timeout
        self._tls = config.tls.context() if config.tls else None

    @classmethod
    def from_url(cls, urls: str | Iterable[str], *, timeout: float = 60.0, **options: Any) -> Self:
        """Return an administration of the nodes that URLs name; see `config.from_url`."""
        return cls(from_url(urls, **options), timeout=timeout)

    def create(
        self,
        nodes: Sequence[Address | str] | None = None,
        replicas: int = 1,
        *,
        primaries: int | None = None,
        confirm: Callable[[Plan], bool] | None = None,
        progress: Callable[[Progress], None] | None = None,
    ) -> Plan | None:
        """Make a cluster of bare nodes, or complete what an earlier run left half done.

        Args:
            nodes: Their addresses, as `Address` or "host:port"; None takes the seeds.
            replicas: Replicas of each primary; nodes left over become further replicas.
            primaries: How many primaries; None makes as many as the nodes give, at least three.
            confirm: Called with the plan before anything is changed; False ends the run.
            progress: Called with each step done.

        Returns:
            The plan that was carried out, or None if `confirm` said no.

        Raises:
            PlanError: These nodes cannot make that cluster; nothing was changed.
            AdminError: A step failed; says which, and running again completes it.
        """
        addresses = [_address(node) for node in nodes or self._config.seeds]
        tell = progress or (lambda _: None)
        links = {address: NodeLink(address, self._config, self._tls) for address in addresses}
        try:
            facts = {fact.address: fact for fact in _gather(list(links.values()), tell)}
            made = plan([facts[address] for address in addresses], replicas, primaries)
            tell(Progress("plan", str(made)))
            if confirm is not None and not confirm(made):
                return None
            Creation(made, links, tell, self._timeout).run()
        finally:
            for link in links.values():
                link.close()
        return made

    def check(self, replicas: int | None = None) -> CheckReport:
        """Ask all nodes, and report what is wrong or could be better.

        Args:
            replicas: How many working replicas each primary should have; None wants one.

        Raises:
            AdminError: None of the seeds answered.
        """
        return checks.check(collect(self._config, self._tls), replicas)

    def info(self) -> ClusterInfo:
        """Ask all nodes, and report each one's role, slots, keys, memory and replication.

        Raises:
            AdminError: None of the seeds answered.
        """
        return overview(collect(self._config, self._tls))


def _address(node: Address | str) -> Address:
    if isinstance(node, Address):
        return node
    try:
        return Address.parse(node, default_port=DEFAULT_PORT)
    except ValueError as error:
        raise ConfigurationError(str(error)) from error


def _gather(links: Sequence[NodeLink], tell: Callable[[Progress], None]) -> list[NodeFacts]:
    """Ask all nodes at once, try their bus ports, and name all that cannot be asked."""
    facts: list[NodeFacts] = []
    errors: list[str] = []
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for future in [pool.submit(gather_facts, link) for link in links]:
            try:
                facts.append(future.result())
            except AdminError as error:
                errors.append(str(error))
        if errors:
            raise AdminError("; ".join(errors))
        joinable = [fact for fact in facts if fact.cluster_enabled]
        reached = pool.map(lambda fact: can_reach(fact.host, fact.bus_port), joinable)
        for fact, ok in zip(joinable, reached, strict=True):
            if not ok:
                tell(
                    Progress(
                        "ports",
                        f"bus port {fact.bus_port} of {fact.host} cannot be reached from this "
                        "machine; the nodes need it among themselves: open it in the firewall",
                    )
                )
    return facts
