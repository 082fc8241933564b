"""A real cluster on this machine: started in seconds, broken on purpose, torn down for sure."""

from clustercache.localcluster.cluster import LocalCluster
from clustercache.localcluster.deployment import Failover
from clustercache.localcluster.node import Node
from clustercache.localcluster.replication import LocalReplication, LocalSentinel
from clustercache.localcluster.servers import Server, find_server, installed_servers

__all__ = [
    "Failover",
    "LocalCluster",
    "LocalReplication",
    "LocalSentinel",
    "Node",
    "Server",
    "find_server",
    "installed_servers",
]
