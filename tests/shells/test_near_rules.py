"""Each rule of the near cache is needed: taken out, its story ends with a hit that is too old.

A story is told twice: as it is, when no hit may be older than the bound, and without one rule, when
the same judge has to find one. The bounds are those of docs/decisions/009-near-cache.md; where a
heartbeat would find out as well, `max_silence` is so long that none comes.

What stands in for another is not in the table. A fill compares the epochs that its entry inherits,
so that a hit finds what a fill overlooks; the two are taken out by a claim that remembers none. A
new connection moves the epoch that the loss of the last one has moved already. A PING that is not
answered ends a connection, whose silence has ended the hits before.
"""

from __future__ import annotations

import threading
from functools import partial

import pytest

from clustercache._core.slots import key_slot
from clustercache.caching.near import MISSING
from clustercache.testing import error, verbatim
from tests.histories import TooOld, judge
from tests.near_rules import RULES, without
from tests.nearby import await_true
from tests.shells.near_world import SLACK, near_world

KEY, NEIGHBOUR, THIRD = b"{b}1", b"{b}2", b"{b}3"
"""Of one slot, which the first primary has at first."""
BEAT = 0.6
"""The `max_silence` of stories about heartbeats: there are three of them in it."""
STORIES = {}


def story(*rules, bound=SLACK, **options):
    """Name the rules that a story is about."""

    def keep(tell):
        for rule in rules:
            STORIES[rule] = partial(_told, tell, bound, options)
        return tell

    return keep


def _told(tell, bound, options):
    with near_world(bound, **options) as world:
        world.put(KEY)
        world.warm(KEY)
        tell(world)
        judge(world.history, world.seen, bound)


def rest(seconds):
    threading.Event().wait(seconds)  # what has to go by for something to become old


# Invalidations ------------------------------------------------------------------------------


@story("void: entries")
def a_key_is_written(world):
    world.put(KEY)
    world.watch(KEY)


@story("void: under every name")
def a_key_is_written_that_is_kept_under_another_name(world):
    world.near.discard([KEY])
    world.keep(world.read(KEY), name=("f", 1))
    assert world.look(KEY, ("f", 1))
    world.put(KEY)
    world.watch(KEY, name=("f", 1))


@story("hit: what it depends on")
def a_tag_is_invalidated_that_a_value_depends_on(world):
    world.put(NEIGHBOUR)
    world.warm(NEIGHBOUR)
    world.near.discard([KEY])
    world.keep(world.read(KEY), depends=((NEIGHBOUR, world.near.get(NEIGHBOUR)),))
    assert world.look(KEY)
    world.put(KEY, told=False)
    world.put(NEIGHBOUR)
    world.watch(KEY)


def overtake(world):
    """Let a key be written, and that be heard, between a reading's answer and its being kept."""
    world.put(NEIGHBOUR)
    world.warm(NEIGHBOUR)
    world.near.discard([KEY])
    reading = world.read(KEY)
    world.put(KEY)
    world.put(NEIGHBOUR)
    await_true(lambda: not world.look(NEIGHBOUR))
    return reading


@story("void: tokens", "fill: the token")
def a_write_overtakes_a_read(world):
    world.keep(overtake(world))
    world.watch(KEY)


@story("flushed")
def a_node_is_emptied(world):
    world.flush(KEY)
    world.watch(KEY)


@story("fill: the epochs", "clear: reads under way")
def all_is_dropped_while_a_key_is_read(world):
    world.near.discard([KEY])
    reading = world.read(KEY)
    world.put(KEY, told=False)
    world.near.clear()
    world.keep(reading)
    world.watch(KEY)


@story("fill: what was not tracked is not kept")
def a_read_is_not_tracked(world):
    world.near.discard([KEY])
    world.a.on("CLIENT CACHING", error("ERR not now"))
    world.here.fetch(KEY)
    world.forget(KEY)
    world.put(KEY)
    world.watch(KEY)


# Connections --------------------------------------------------------------------------------


@story("hit: the source's epoch")
def the_connection_is_made_anew(world):
    world.connect_again()
    world.put(KEY)
    world.watch(KEY)


@story("claim: the source's epoch before the read")
def the_connection_is_made_anew_while_a_key_is_read(world):
    world.near.discard([KEY])
    reading = world.read(KEY)
    world.connect_again()
    world.put(KEY)
    world.keep(reading)
    world.watch(KEY)


@story("lost")
def the_connection_is_lost(world):
    world.a.stop_accepting()
    world.a.drop_connections()
    world.put(KEY)
    world.watch(KEY)


@story("hit: the silence", bound=BEAT + SLACK, max_silence=BEAT)
def the_process_hears_nothing(world):
    world.gate.clear()
    world.put(KEY)
    world.watch(KEY)


@story("pong: counts from when the PING was sent", bound=BEAT + SLACK, max_silence=BEAT)
def a_process_goes_on_that_was_stopped_with_a_pong_in_its_socket(world):
    world.die_behind_a_pong()
    world.put(KEY, told=False)
    rest(2 * BEAT)
    world.gate.set()
    world.watch(KEY, 2 * BEAT)


# Slots --------------------------------------------------------------------------------------


@story("hit: the slot's epoch", "beat: slots", "moved", bound=BEAT + SLACK, max_silence=BEAT)
def a_slot_moves_and_nobody_is_told(world):
    world.cluster.move(KEY, world.b)
    world.put(KEY, told=False)
    world.watch(KEY)


@story("claim: the slot's epoch before the read", bound=BEAT + SLACK, max_silence=BEAT)
def a_slot_moves_while_a_key_is_read(world):
    world.near.discard([KEY])
    reading = world.read(KEY)
    before = world.listener.source.slots
    world.cluster.move(KEY, world.b)
    world.put(KEY, told=False)
    sources = [listener.source for listener in world.tracker.listeners]
    await_true(lambda: all(source.slots != before for source in sources))
    world.keep(reading)
    world.watch(KEY)


@story("beat: config_epoch", bound=BEAT + SLACK, max_silence=BEAT)
def a_slot_leaves_and_comes_back_between_two_heartbeats(world):
    with world.cluster.lock:
        world.cluster.move(KEY, world.b)
        world.put(KEY, told=False)
        world.cluster.move(KEY, world.a)
    world.watch(KEY)


@story("beat: serving", bound=BEAT + SLACK, max_silence=BEAT)
def a_primary_is_cut_off_from_its_cluster(world):
    epoch = world.a.shard.epoch
    world.a.on("CLUSTER INFO", verbatim(f"cluster_state:fail\r\ncluster_my_epoch:{epoch}\r\n"))
    world.put(KEY, told=False)
    world.watch(KEY)


@story("followed", bound=1.0 + SLACK)
def the_client_learns_of_a_move_before_the_slots_old_owner_does(world):
    world.a.on("CLUSTER SLOTS", world.a.slots_reply())
    world.cluster.move(KEY, world.b)
    world.put(KEY, told=False)
    world.here.client.get(KEY)
    world.watch(KEY)


@story("redirect: MOVED moves the slot")
def a_read_of_another_key_of_the_slot_is_moved(world):
    world.cluster.move(KEY, world.b)
    world.put(KEY, told=False)
    (reading,) = world.tracker.read([THIRD])
    reading.close()
    assert reading.data is MISSING
    world.watch(KEY)


@story("redirect: the token")
def a_key_goes_to_another_node_between_two_reads_that_share_a_token(world):
    world.near.discard([KEY])
    reading = world.read(KEY)
    world.cluster.migrate(key_slot(KEY), world.b)
    world.cluster.move_keys(KEY)
    (second,) = world.tracker.read([KEY])
    second.close()
    world.put(KEY, told=False)
    world.keep(reading)
    world.watch(KEY)


# Time ---------------------------------------------------------------------------------------


@story("hit: until when")
def a_key_expires(world):
    world.near.discard([KEY])
    world.keep(world.read(KEY), ttl=0.2)
    rest(0.2)
    world.remove(KEY)
    world.watch(KEY)


@story("fill: its life begins before the read")
def a_key_expires_that_took_long_to_decode(world):
    world.near.discard([KEY])
    reading = world.read(KEY)
    rest(0.5)
    world.keep(reading, ttl=0.6)
    rest(0.1)
    world.remove(KEY)
    world.watch(KEY)


@story("fill: max_staleness", bound=0.4 + SLACK, max_staleness=0.4)
def a_server_does_not_push(world):
    world.near.discard([KEY])
    world.keep(world.read(KEY))
    world.put(KEY, told=False)
    world.watch(KEY)


@story("fill: an absence is kept for a second", bound=1.0 + SLACK)
def a_key_appears_where_its_slot_went(world):
    world.remove(KEY)
    world.near.discard([KEY])
    world.keep(world.read(KEY))
    world.cluster.move(KEY, world.b)
    world.put(KEY, told=False)
    assert world.look(KEY)
    world.watch(KEY)


# Own writes ---------------------------------------------------------------------------------


class Halfway:
    """A client whose write is done, or is about to be, while something else happens."""

    def __init__(self, world, before=None, after=None):
        self.world, self.before, self.after = world, before, after

    def set(self, key, _):
        if self.before:
            self.before()
        self.world.put(key, told=False)
        if self.after:
            self.after()

    def __getattr__(self, name):
        return getattr(self.world.client, name)


@story("own write: before it is sent")
def a_write_of_ones_own_takes_long(world):
    world.here.client = Halfway(world, after=lambda: world.watch(KEY))
    world.here.set(KEY, "new")


@story("own write: behind its reply")
def a_write_of_ones_own_overtakes_a_read(world):
    world.here.client = Halfway(world, before=lambda: world.here.warm(KEY))
    world.here.set(KEY, "new")
    world.watch(KEY)


# Told ---------------------------------------------------------------------------------------


def named(tell):
    return tell.args[0].__name__


ONCE = {named(tell): tell for tell in STORIES.values()}


@pytest.mark.parametrize("tell", ONCE.values(), ids=ONCE)
def test_no_hit_is_too_old(tell):
    tell()


@pytest.mark.parametrize("rule", STORIES)
def test_it_is_noticed_when_a_rule_is_taken_out(rule):
    with without(rule), pytest.raises(TooOld):
        STORIES[rule]()


def test_every_rule_has_its_story():
    assert set(STORIES) == set(RULES)
