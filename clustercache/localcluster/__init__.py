"""A real cluster on this machine: started in seconds, broken on purpose, torn down for sure."""

from clustercache.localcluster.cluster import Failover, LocalCluster
from clustercache.localcluster.node import Node
from clustercache.localcluster.servers import Server, find_server, installed_servers

__all__ = ["Failover", "LocalCluster", "Node", "Server", "find_server", "installed_servers"]
