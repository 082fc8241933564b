"""Whether a contender's operations do what they say. Nothing is timed here."""

from __future__ import annotations

from tests.bench.data import GROUPS, KEYS, LONG, VALUES


class WrongError(Exception):
    """A contender did not do what it was asked to."""


def fill(put):
    """Write all keys."""
    for key, value in VALUES.items():
        put(key, value)


def check_get(get, referee):
    fill(referee.set)
    for key in KEYS:
        if get(key) != VALUES[key]:
            raise WrongError(f"GET {key} returned something else than its value")


def check_set(put, referee):
    """Each key gets a value that only this check writes; an independent client reads it."""
    fill(referee.set)
    for key in KEYS:
        put(key, b"set by the check of " + key.encode())
        if referee.get(key) != b"set by the check of " + key.encode():
            raise WrongError(f"SET {key} did not set it")
    fill(put)
    check_get(referee.get, referee)


def check_mget(mget, referee):
    fill(referee.set)
    for group in GROUPS:
        backwards = group[::-1]
        if list(mget(backwards)) != [VALUES[key] for key in backwards]:
            raise WrongError(f"MGET of {len(group)} keys returned something else than their values")
    if list(mget(["bench:absent", KEYS[0]])) != [None, VALUES[KEYS[0]]]:
        raise WrongError("MGET of an absent key did not return None in its place")


def check_pipeline(pipeline, referee):
    fill(referee.set)
    for group in [*GROUPS, LONG, LONG[::-1]]:
        if list(pipeline(group)) != [VALUES[key] for key in group]:
            raise WrongError(f"a pipeline of {len(group)} GETs returned something else")
    if list(pipeline([KEYS[1], "bench:absent"])) != [VALUES[KEYS[1]], None]:
        raise WrongError("a GET of an absent key did not return None in its place")


def check_at_once(at_once, referee):
    """Each of many calls on their way at once gets what is its own.

    Args:
        at_once: Returns the results for (operation, list of tuples of arguments).
        referee: An independent client.
    """
    fill(referee.set)
    for group in GROUPS:
        if at_once("get", [(key,) for key in group]) != [VALUES[key] for key in group]:
            raise WrongError(f"{len(group)} GETs at once returned something else than their values")
        mine = [(key, b"set at once by the check of " + key.encode()) for key in group]
        at_once("set", mine)
        if [referee.get(key) for key in group] != [value for _, value in mine]:
            raise WrongError(f"{len(group)} SETs at once did not set their values")
    fill(referee.set)


CHECKS = {"get": check_get, "set": check_set, "mget": check_mget, "pipeline": check_pipeline}
