"""THE scenario table: what the cluster does, the calls, and what must come of them.

Every shell runs every row (see test_scenarios.py), so that no shell can have a policy of its own.
"""

from __future__ import annotations

from tests.shells.scenario_batches import BATCHES
from tests.shells.scenario_losses import LOSSES
from tests.shells.scenario_redirects import REDIRECTS
from tests.shells.scenario_replies import REPLIES
from tests.shells.scenario_waits import WAITS

SCENARIOS = [*REDIRECTS, *WAITS, *LOSSES, *REPLIES, *BATCHES]
