"""Build a cluster, check it and look into it."""

from clustercache.admin.cluster_admin import ClusterAdmin
from clustercache.admin.creation import Progress
from clustercache.admin.nodes_text import SlotRange
from clustercache.admin.plan import NodeFacts, Plan, PlannedShard, plan
from clustercache.admin.reports import CheckReport, ClusterInfo, Finding, NodeInfo

__all__ = [
    "CheckReport",
    "ClusterAdmin",
    "ClusterInfo",
    "Finding",
    "NodeFacts",
    "NodeInfo",
    "Plan",
    "PlannedShard",
    "Progress",
    "SlotRange",
    "plan",
]
