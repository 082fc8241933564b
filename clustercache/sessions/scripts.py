"""What runs at the server: each script works on one key, and decides by the server's own clock.

A session is a hash, at ``{prefix}:s:{selector}``:

    _k   SHA-256 of the verifier            _r   when that was made
    _kp  that of the verifier before it     _kpx until when it is good; absent until `_k` was shown
    _c   created    _a  last active    _x  absolute deadline    _i  idle limit    (milliseconds)
    _u   user       _at when the user proved who it is          _d  device and address
    _n   the nonces of the last 16 saves, 8 bytes each
    :x   the application's field x

A user's index is a sorted set, at ``{prefix}:u:{user}``:

    selector    absolute deadline of a session
    +selector   until when a login is under way: its session may not be stored yet
    epoch       4e15 + how often all sessions were ended; above all times, so that it stays
"""

from __future__ import annotations

from hashlib import sha1
from typing import Final, NamedTuple

NONCE_BYTES: Final = 8
NONCES_BYTES: Final = 16 * NONCE_BYTES
EPOCHS: Final = 4_000_000_000_000_000
LATEST: Final = 3_000_000_000_000_000
"""Above all times in milliseconds, below all epochs."""

PENDING: Final = 60_000
"""Milliseconds for which a login may be under way."""


class Lua(NamedTuple):
    """A script, and whether it may be sent again when its reply was lost, just as it is."""

    source: str
    sha: str
    repeatable: bool


def _lua(source: str, *, repeatable: bool) -> Lua:
    return Lua(source, sha1(source.encode(), usedforsecurity=False).hexdigest(), repeatable)


_NOW = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local key = KEYS[1]
"""

_SAVE = (
    _NOW
    + """
local digest, nonce, again, seen, mode, fresh = unpack(ARGV, 1, 6)
local grace, age, idle, lifetime = tonumber(ARGV[7]), tonumber(ARGV[8]), ARGV[9], ARGV[10]
local sets, dels, compared = tonumber(ARGV[11]), tonumber(ARGV[12]), tonumber(ARGV[13])
local h = redis.call('HMGET', key, '_k', '_kp', '_kpx', '_x', '_i', '_n', '_r')
local current, previous, ending = h[1], h[2], tonumber(h[3] or '')
local deadline, nonces, made = tonumber(h[4] or ''), h[6] or '', tonumber(h[7] or '') or 0
if not current or not deadline or deadline <= now then return {'gone'} end
if fresh ~= '' and current == fresh then return {'ok', 1, redis.call('PTTL', key)} end
if again == '1' and nonce ~= '' then
  local known = #nonces < 128
  for at = 1, #nonces, 8 do
    local one = string.sub(nonces, at, at + 7)
    if one == nonce then return {'ok', 0, redis.call('PTTL', key)} end
    if one == seen then known = true end
  end
  if not known then return {'unknown'} end
end
local first = digest == current
if not first and (digest ~= previous or (ending and ending <= now)) then return {'gone'} end
local at, found, differs = 14 + 2 * sets + dels, {'conflict'}, false
for i = at, at + 3 * compared - 1, 3 do
  local value = redis.call('HGET', key, ARGV[i])
  if (ARGV[i + 1] == '1') ~= (value ~= false) or (value or '') ~= ARGV[i + 2] then
    differs = true
  end
  found[#found + 1] = value
end
if differs then return found end
for i = 14, 13 + 2 * sets, 2 do redis.call('HSET', key, ARGV[i], ARGV[i + 1]) end
for i = 14 + 2 * sets, at - 1 do redis.call('HDEL', key, ARGV[i]) end
local changed = 0
if first and previous and not ending then
  redis.call('HSET', key, '_kpx', now + grace)
elseif previous and ending and ending <= now then
  redis.call('HDEL', key, '_kp', '_kpx')
  previous = false
end
if mode == 'rotate' then
  redis.call('HSET', key, '_k', fresh, '_r', now)
  redis.call('HDEL', key, '_kp', '_kpx')
  changed = 1
elseif mode == 'renew' then
  if first and not previous and now - made >= age then
    redis.call('HSET', key, '_kp', current, '_k', fresh, '_r', now)
    changed = 1
  elseif not first and not ending and now - made > grace then
    redis.call('HSET', key, '_k', fresh, '_r', now)
    changed = 1
  end
end
if nonce ~= '' then redis.call('HSET', key, '_n', string.sub(nonces .. nonce, -128)) end
if idle ~= '' then redis.call('HSET', key, '_i', idle) else idle = h[5] end
if lifetime ~= '' then
  deadline = now + lifetime
  redis.call('HSET', key, '_x', deadline)
end
redis.call('HSET', key, '_a', now)
local left = math.min(tonumber(idle or '') or deadline - now, deadline - now)
redis.call('PEXPIRE', key, left)
return {'ok', changed, left, first and 1 or 0}
"""
)

_CREATE = (
    _NOW
    + """
local current = redis.call('HGET', key, '_k')
if current and current ~= ARGV[1] then return {'taken'} end
local idle, lifetime = tonumber(ARGV[2]), tonumber(ARGV[3])
local left = math.min(idle, lifetime)
redis.call('HSET', key, '_k', ARGV[1], '_r', now, '_c', now, '_a', now, '_i', idle,
           '_x', now + lifetime)
for i = 4, #ARGV, 2 do redis.call('HSET', key, ARGV[i], ARGV[i + 1]) end
redis.call('PEXPIRE', key, left)
return {'ok', 1, left}
"""
)

_RESERVE = (
    _NOW
    + """
local selector, lifetime, limit, refuse = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local pending = tonumber(ARGV[5])
redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
for i = 6, #ARGV do
  if not redis.call('ZSCORE', key, '+' .. ARGV[i]) then redis.call('ZREM', key, ARGV[i]) end
end
local over = {}
if limit > 0 then
  local all, members = redis.call('ZRANGEBYSCORE', key, now, 3e15), {}
  for _, one in ipairs(all) do
    if string.sub(one, 1, 1) ~= '+' and one ~= selector then members[#members + 1] = one end
  end
  if #members >= limit then
    if refuse == '1' then return {'full', all} end
    for i = 1, #members - limit + 1 do over[i] = members[i] end
  end
end
redis.call('ZADD', key, now + lifetime, selector, now + pending, '+' .. selector)
redis.call('PEXPIRE', key, math.max(redis.call('PTTL', key), lifetime + pending))
local epoch = redis.call('ZSCORE', key, 'epoch') or '0'
return {'ok', epoch, over}
"""
)

_SETTLE = """
local key = KEYS[1]
local epoch = redis.call('ZSCORE', key, 'epoch') or '0'
if epoch ~= ARGV[2] or not redis.call('ZSCORE', key, ARGV[1]) then return 0 end
redis.call('ZREM', key, '+' .. ARGV[1])
return 1
"""

_REVOKE = (
    _NOW
    + """
local epoch = tonumber(redis.call('ZSCORE', key, 'epoch') or '4e15') + 1
redis.call('ZADD', key, epoch, 'epoch')
redis.call('PEXPIRE', key, math.max(redis.call('PTTL', key), tonumber(ARGV[1])))
return redis.call('ZRANGEBYSCORE', key, now, 3e15)
"""
)

_MEMBERS = (
    _NOW
    + """
redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
for i = 1, #ARGV do
  if not redis.call('ZSCORE', key, '+' .. ARGV[i]) then redis.call('ZREM', key, ARGV[i]) end
end
return redis.call('ZRANGEBYSCORE', key, now, 3e15)
"""
)

SCRIPTS: Final = {
    "save": _lua(_SAVE, repeatable=False),
    "create": _lua(_CREATE, repeatable=True),
    "reserve": _lua(_RESERVE, repeatable=True),
    "settle": _lua(_SETTLE, repeatable=True),
    "revoke": _lua(_REVOKE, repeatable=True),
    "members": _lua(_MEMBERS, repeatable=True),
}
