r"""What runs at the server: each script works on one key, and decides by the server's own clock.

A value's key holds an envelope, a lease, or a lease with the envelope that was there before it:

    CC 4C | the lease's token, 16 | until when, 13 digits: milliseconds | envelope, if there is one

A plain SET or UNLINK of the key voids the lease, with no word to whoever has it: its `fill` is
refused. A lease that is over is none to those who want one; to its holder it is good for as long
as nobody else has touched the key.

A token's key holds random bytes. Who finds none there leaves those that it brought.
"""

from __future__ import annotations

from hashlib import sha1
from typing import Final, NamedTuple


class Lua(NamedTuple):
    """A script, and whether it may be sent again when its reply was lost, just as it is."""

    source: str
    sha: str
    repeatable: bool


def _lua(*parts: str, repeatable: bool) -> Lua:
    source = "".join(parts)
    return Lua(source, sha1(source.encode(), usedforsecurity=False).hexdigest(), repeatable)


# An error that a script raises is told differently by each server; one that it returns is not.
_HELD: Final = r"""
local key = KEYS[1]
local held = redis.pcall('GET', key)
if type(held) == 'table' then return held end
held = held or ''
"""

_APART: Final = r"""
local holder, ends, rest = nil, 0, held
if string.sub(held, 1, 2) == '\204L' then
  holder, rest = string.sub(held, 3, 18), string.sub(held, 32)
  ends = tonumber(string.sub(held, 19, 31)) or 0
end
"""

_IS_SEEN: Final = r"""
local function is_seen(digest)
  if rest == '' then return digest == '' end
  return redis.sha1hex(rest) == digest
end
"""

_LEASE: Final = r"""
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function lease(token, last, least)
  local left = redis.call('PTTL', key)
  local data = '\204L' .. token .. string.format('%013.0f', last) .. rest
  if left == -1 and rest ~= '' then
    redis.call('SET', key, data)
  else
    redis.call('SET', key, data, 'PX', math.max(left, least))
  end
end
"""

_STORE: Final = r"""
local function store(data, ttl)
  if ttl == '' then
    redis.call('SET', key, data)
  else
    redis.call('SET', key, data, 'PX', ttl)
  end
end
"""

_TAKE: Final = r"""
local token, least, seen, force = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]
if force ~= '1' then
  if not is_seen(seen) then return {2, rest} end
  if holder and holder ~= token and ends > now then return {0, ends - now} end
end
lease(token, now + least, least)
return {1}
"""

# What is there already was stored by this very call, if its reply was lost.
_FILL: Final = r"""
local token, data, ttl = ARGV[1], ARGV[2], ARGV[3]
if holder ~= token then return rest == data and 1 or 0 end
store(data, ttl)
return 1
"""

_RENEW: Final = r"""
local token, least = ARGV[1], tonumber(ARGV[2])
if holder ~= token then return 0 end
lease(token, math.max(ends, now + least), least)
return 1
"""

_RELEASE: Final = r"""
if holder ~= ARGV[1] then return 0 end
if rest == '' then
  redis.call('UNLINK', key)
else
  redis.call('SET', key, rest, 'KEEPTTL')
end
return 1
"""

_SWAP: Final = r"""
local seen, data, ttl = ARGV[1], ARGV[2], ARGV[3]
if not is_seen(seen) then return 0 end
store(data, ttl)
return 1
"""

# It gets twice the time that it lacks, or else each call would write, and whoever is told of
# changes to the key would be told of each call.
_KEPT: Final = r"""
local fresh, ttl = ARGV[1], ARGV[2]
local least = tonumber(ttl)
if held == '' then
  store(fresh, least and 2 * least or '')
  return fresh
end
local left = redis.call('PTTL', key)
if left >= 0 and not least then
  redis.call('PERSIST', key)
elseif left >= 0 and left < least then
  redis.call('PEXPIRE', key, 2 * least)
end
return held
"""

# Lua's numbers have 53 bits: INCRBY counts, on the key itself, and GET reads what it has counted.
_INCR: Final = r"""
local token, delta = ARGV[1], ARGV[2]
if #rest < 28 or string.sub(rest, 1, 3) ~= '\204\1\3' then return false end
local tags, name, size = struct.unpack('>HHB', rest, 24)
local from = 29 + name
local head = string.sub(rest, 1, from + size - 1)
local digits = string.match(string.sub(rest, from + size), '^ *(%-?%d+)$')
if tags ~= 1 or #rest ~= #head + 20 or not digits then return false end
if string.sub(head, from) ~= token then return false end
redis.call('SET', key, digits, 'KEEPTTL')
local reply = redis.pcall('INCRBY', key, delta)
if type(reply) == 'table' then
  redis.call('SET', key, held, 'KEEPTTL')
  return reply
end
local sum = redis.call('GET', key)
redis.call('SET', key, head .. string.format('%20s', sum), 'KEEPTTL')
return sum
"""

# `token` sent twice could bring back what was unlinked in between, and all that depends on it.
SCRIPTS: Final = {
    "take": _lua(_HELD, _APART, _IS_SEEN, _LEASE, _TAKE, repeatable=True),
    "fill": _lua(_HELD, _APART, _STORE, _FILL, repeatable=True),
    "renew": _lua(_HELD, _APART, _LEASE, _RENEW, repeatable=True),
    "release": _lua(_HELD, _APART, _RELEASE, repeatable=True),
    "swap": _lua(_HELD, _APART, _IS_SEEN, _STORE, _SWAP, repeatable=False),
    "token": _lua(_HELD, _STORE, _KEPT, repeatable=False),
    "incr": _lua(_HELD, _APART, _INCR, repeatable=False),
}
