"""The command table: every command of Redis up to 8 and Valkey up to 9, and of the modules.

The texts below are the table; they are parsed once, at import. A row of TABLE is a safety (see
Safety), a place, and names; indented lines continue it. ``CONFIG|GET,SET`` are two two-word names.
A place is where the keys are,

    1  1,3          at these places           1:2      from the first to the second
    1:*  1:*-1      to the end, to before it  1:*/2    every second one
    #2  #1/2        counted at 2; of pairs    @STORE   after the option; @KEYS:2 two, @KEYS:* all
    /half           the first half of them    ? after  may be missing      ! after  see placeholder

or, without keys, a Route, with the Merge of the replies where several nodes are asked: by
themselves, or because the caller said so (DEFAULT/ALL).

How the safeties were chosen: by the servers' flags first (READ is what they call readonly), then
NEVER unless a second application provably leaves the same state. Commands that store what they
compute from other keys (SUNIONSTORE ...) stay NEVER: with the destination among the sources a
second run may compute something else, and a late one reads sources that have moved on. JSON.DEL is
NEVER for a path into an array, where it removes the next element.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .command_spec import (
    NO_WORDS,
    REST,
    CommandSpec,
    KeySpec,
    Merge,
    Options,
    Route,
    Safety,
    Split,
    Timeout,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    _Place = tuple[tuple[KeySpec, ...], Route, Merge]

TABLE = """
READ 1      GET GETRANGE SUBSTR STRLEN GETBIT BITCOUNT BITPOS BITFIELD_RO DIGEST DUMP TYPE
            TTL PTTL EXPIRETIME PEXPIRETIME OBJECT|ENCODING,FREQ,IDLETIME,REFCOUNT
            MEMORY|USAGE DEBUG|OBJECT SORT_RO
            HGET HMGET HGETALL HKEYS HVALS HLEN HEXISTS HSTRLEN HRANDFIELD HSCAN
            HTTL HPTTL HEXPIRETIME HPEXPIRETIME
            LINDEX LLEN LPOS LRANGE SCARD SISMEMBER SMISMEMBER SMEMBERS SRANDMEMBER SSCAN
            ZCARD ZCOUNT ZLEXCOUNT ZMSCORE ZRANDMEMBER ZRANGE ZRANGEBYLEX ZRANGEBYSCORE ZRANK
            ZREVRANGE ZREVRANGEBYLEX ZREVRANGEBYSCORE ZREVRANK ZSCAN ZSCORE
            GEODIST GEOHASH GEOPOS GEOSEARCH GEORADIUS_RO GEORADIUSBYMEMBER_RO
            XLEN XRANGE XREVRANGE XPENDING XINFO|STREAM,GROUPS,CONSUMERS
            ARCOUNT ARGET ARMGET ARGETRANGE ARGREP ARINFO ARLASTITEMS ARLEN ARNEXT AROP ARSCAN
            VCARD VDIM VEMB VGETATTR VINFO VISMEMBER VLINKS VRANDMEMBER VRANGE VSIM
            JSON.GET JSON.TYPE JSON.STRLEN JSON.ARRINDEX JSON.ARRLEN JSON.OBJKEYS JSON.OBJLEN
            JSON.RESP JSON.DEBUG|MEMORY,DEPTH,FIELDS
            TS.GET TS.RANGE TS.REVRANGE TS.INFO TS.READ
            BF.EXISTS BF.MEXISTS BF.CARD BF.INFO BF.SCANDUMP
            CF.EXISTS CF.MEXISTS CF.COUNT CF.INFO CF.SCANDUMP CMS.QUERY CMS.INFO
            TOPK.QUERY TOPK.COUNT TOPK.LIST TOPK.INFO
            TDIGEST.BYRANK TDIGEST.BYREVRANK TDIGEST.CDF TDIGEST.INFO TDIGEST.MAX TDIGEST.MIN
            TDIGEST.QUANTILE TDIGEST.RANK TDIGEST.REVRANK TDIGEST.TRIMMED_MEAN
            FT.SUGGET FT.SUGLEN CLUSTERSCAN
SAME 1      SET SETEX PSETEX SETRANGE GETEX HMSET HSETEX HGETEX LSET XSETID XCFGSET
            VSETATTR JSON.SET TS.ALTER TDIGEST.RESET FT.SUGADD
COUNT 1     EXPIRE EXPIREAT PEXPIRE PEXPIREAT PERSIST DELEX
            HSET HDEL HEXPIRE HEXPIREAT HPEXPIRE HPEXPIREAT HPERSIST
            SADD SREM ZADD ZREM ZREMRANGEBYLEX ZREMRANGEBYSCORE GEOADD PFADD
            XACK XDEL XDELEX XACKDEL XGROUP|CREATECONSUMER,DELCONSUMER,DESTROY
            ARSET ARMSET ARDEL ARDELRANGE VADD VREM
            JSON.CLEAR TS.DEL BF.ADD BF.MADD BF.INSERT FT.SUGDEL
NEVER 1     APPEND GETSET GETDEL SETNX SETBIT BITFIELD INCR INCRBY INCRBYFLOAT INCREX DECR DECRBY
            DELIFEQ MOVE RESTORE RESTORE-ASKING GCRA
            HSETNX HGETDEL HINCRBY HINCRBYFLOAT
            LPUSH LPUSHX RPUSH RPUSHX LPOP RPOP LINSERT LREM LTRIM SPOP
            ZINCRBY ZPOPMAX ZPOPMIN ZREMRANGEBYRANK
            XADD XTRIM XCLAIM XAUTOCLAIM XNACK XGROUP|CREATE,SETID
            ARINSERT ARRING ARSEEK SPUBLISH
            JSON.ARRAPPEND JSON.ARRINSERT JSON.ARRPOP JSON.ARRTRIM JSON.DEL JSON.FORGET JSON.MERGE
            JSON.NUMINCRBY JSON.NUMMULTBY JSON.STRAPPEND JSON.TOGGLE
            TS.ADD TS.CREATE TS.INCRBY TS.DECRBY BF.RESERVE BF.LOADCHUNK
            CF.ADD CF.ADDNX CF.DEL CF.INSERT CF.INSERTNX CF.LOADCHUNK CF.RESERVE
            CMS.INCRBY CMS.INITBYDIM CMS.INITBYPROB TOPK.ADD TOPK.INCRBY TOPK.RESERVE
            TDIGEST.ADD TDIGEST.CREATE
READ 1:*    MGET EXISTS TOUCH SDIFF SINTER SUNION PFCOUNT
COUNT 1:*   DEL UNLINK
SAME 1:*    PFMERGE
NEVER 1:*   SDIFFSTORE SINTERSTORE SUNIONSTORE WATCH SSUBSCRIBE
NEVER 1:*?  SUNSUBSCRIBE
SAME 1:*/2  MSET
NEVER 1:*/2 MSETNX
READ 1:*-1  JSON.MGET
NEVER 1:*-1 BLPOP BRPOP BZPOPMAX BZPOPMIN
SAME 1:*/3  JSON.MSET
NEVER 1:*/3 TS.MADD
READ 1:2    LCS
NEVER 1:2   COPY RENAME RENAMENX SMOVE LMOVE BLMOVE LMOVEM BLMOVEM RPOPLPUSH BRPOPLPUSH
            GEOSEARCHSTORE ZRANGESTORE TS.CREATERULE TS.DELETERULE
NEVER 2     PFDEBUG
NEVER 2:*   BITOP
READ #1     SINTERCARD SUNIONCARD SDIFFCARD ZDIFF ZINTER ZUNION ZINTERCARD TS.NRANGE TS.NREVRANGE
NEVER #1    LMPOP ZMPOP
NEVER #2    BLMPOP BZMPOP
NEVER 1,#2  ZDIFFSTORE ZINTERSTORE ZUNIONSTORE CMS.MERGE TDIGEST.MERGE
SAME #1/2   MSETEX
READ #2?    EVAL_RO EVALSHA_RO FCALL_RO
NEVER #2?   EVAL EVALSHA FCALL TFCALL TFCALLASYNC
READ @STREAMS:*/half        XREAD
NEVER @STREAMS:*/half       XREADGROUP
READ @KEYS:2?               STRALGO
SAME 1,@STORE?              SORT
SAME 1,@STORE?,@STOREDIST?  GEORADIUS GEORADIUSBYMEMBER
NEVER 3!,@KEYS:*?           MIGRATE

READ ANY                ECHO LOLWUT COMMAND COMMAND|COUNT,DOCS,GETKEYS,GETKEYSANDFLAGS,
                        COMMAND|HELP,INFO,LIST FUNCTION|DUMP,HELP SCRIPT|HELP,SHOW
NEVER ANY               PUBLISH
READ PRIMARIES/SUM      DBSIZE
READ PRIMARIES/PICK     RANDOMKEY
READ PRIMARIES/UNION    KEYS
READ PRIMARIES/AND      SCRIPT|EXISTS
READ PRIMARIES/CURSORS  SCAN
READ PRIMARIES          FUNCTION|LIST
SAME PRIMARIES/ALL      FLUSHALL FLUSHDB SCRIPT|FLUSH,LOAD FUNCTION|FLUSH
NEVER PRIMARIES/ALL     FUNCTION|DELETE,LOAD,RESTORE
NEVER PRIMARIES/ONE     SCRIPT|KILL FUNCTION|KILL
READ NODES/UNION        PUBSUB|CHANNELS,SHARDCHANNELS
READ NODES/SUM          PUBSUB|NUMPAT
READ NODES/COUNTS       PUBSUB|NUMSUB,SHARDNUMSUB
SAME NODES/ALL          CONFIG|SET,RESETSTAT,REWRITE ACL|LOAD,SAVE
COUNT NODES/ALL         ACL|DELUSER
NEVER NODES/ALL         ACL|SETUSER
READ SLOT               CLUSTER|COUNTKEYSINSLOT,GETKEYSINSLOT
NEVER SLOT              CLUSTER|SETSLOT,DELSLOTS,DELSLOTSRANGE,FLUSHSLOT SFLUSH
READ DEFAULT/ALL        PING
READ DEFAULT            TIME INFO ROLE LASTSAVE CONFIG|GET,HELP FUNCTION|STATS
                        ACL|CAT,DRYRUN,GENPASS,GETUSER,HELP,LIST,USERS,WHOAMI
                        CLIENT|GETNAME,GETREDIR,HELP,ID,INFO,LIST,TRACKINGINFO
                        CLUSTER|COUNT-FAILURE-REPORTS,GETSLOTMIGRATIONS,HELP,INFO,KEYSLOT,LINKS
                        CLUSTER|MYID,MYSHARDID,NODES,REPLICAS,SHARDS,SLAVES,SLOT-STATS,SLOTS
                        COMMANDLOG|GET,HELP,LEN SLOWLOG|GET,HELP,LEN HOTKEYS|GET,HELP
                        LATENCY|DOCTOR,GRAPH,HELP,HISTOGRAM,HISTORY,LATEST
                        MEMORY|DOCTOR,HELP,MALLOC-STATS,STATS MODULE|HELP,LIST
                        OBJECT|HELP PUBSUB|HELP XGROUP|HELP XINFO|HELP TFUNCTION|LIST HOST: POST
                        FT.SEARCH FT.AGGREGATE FT.HYBRID FT.PROFILE FT.EXPLAIN FT.EXPLAINCLI FT.INFO
                        FT._LIST FT.ALIASLIST FT.DICTDUMP FT.GET FT.MGET FT.SPELLCHECK FT.SYNDUMP
                        FT.TAGVALS FT.CONFIG|GET,HELP
                        TS.MGET TS.MRANGE TS.MREVRANGE TS.QUERYINDEX TS.QUERYLABELS
                        SENTINEL|CKQUORUM,GET-MASTER-ADDR-BY-NAME,GET-PRIMARY-ADDR-BY-NAME,HELP
                        SENTINEL|INFO-CACHE,IS-MASTER-DOWN-BY-ADDR,IS-PRIMARY-DOWN-BY-ADDR,MASTER
                        SENTINEL|MASTERS,MYID,PENDING-SCRIPTS,PRIMARIES,PRIMARY,REPLICAS,SENTINELS
                        SENTINEL|SLAVES
SAME DEFAULT/ALL        BGREWRITEAOF SAVE COMMANDLOG|RESET SLOWLOG|RESET CLIENT|UNPAUSE
                        MEMORY|PURGE
SAME DEFAULT            CLUSTER|MEET,SAVECONFIG
                        FT.ALIASUPDATE FT.CONFIG|SET FT.SYNUPDATE
COUNT DEFAULT           LATENCY|RESET FT.DICTADD FT.DICTDEL
NEVER DEFAULT/ALL       BGSAVE CLIENT|PAUSE
NEVER DEFAULT/ONE       CLIENT|UNBLOCK
NEVER DEFAULT           SHUTDOWN FAILOVER REPLICAOF SLAVEOF SWAPDB PFSELFTEST ACL|LOG
                        MODULE|LOAD,LOADEX,UNLOAD HOTKEYS|START,STOP,RESET TRIMSLOTS
                        CLIENT|KILL
                        CLIENT|CACHING,CAPA,IMPORT-SOURCE,NO-EVICT,NO-TOUCH,REPLY,SETINFO,SETNAME
                        CLIENT|TRACKING
                        CLUSTER|ADDSLOTS,ADDSLOTSRANGE,BUMPEPOCH,CANCELSLOTMIGRATIONS,FAILOVER
                        CLUSTER|FLUSHSLOTS,FORGET,MIGRATESLOTS,MIGRATION,REPLICATE,RESET
                        CLUSTER|SET-CONFIG-EPOCH,SYNCSLOTS
                        SENTINEL|CONFIG,DEBUG,FAILOVER,FLUSHCONFIG,MONITOR,REMOVE,RESET,SET
                        SENTINEL|SIMULATE-FAILURE
                        FT.ADD FT.ADDHASH FT.ALIASADD FT.ALIASDEL FT.ALTER FT.CREATE FT.DEL FT.DROP
                        FT.DROPINDEX FT.SYNADD FT.CURSOR|READ,DEL,GC TFUNCTION|LOAD,DELETE
                        MULTI EXEC DISCARD UNWATCH SELECT MONITOR AUTH HELLO RESET QUIT READONLY
                        READWRITE ASKING SYNC PSYNC REPLCONF WAIT WAITAOF SCRIPT|DEBUG
                        SUBSCRIBE PSUBSCRIBE UNSUBSCRIBE PUNSUBSCRIBE
                        HIMPORT|PREPARE,SET,DISCARD,DISCARDALL,HELP
"""

# Name, first place (* for after the counted keys), words. "=2" takes two values, "$" takes the
# rest, "..." ends with operands; "!" makes the call NEVER, "~" makes it SAME.
# GETEX with an absolute time may be past it when sent again, and then finds nothing to return.
OPTIONS = """
SET 3           NX! XX! GET! IFEQ=1! IFNE=1! IFDEQ=1! IFDNE=1! EX=1 PX=1 EXAT=1 PXAT=1 KEEPTTL
MSETEX *        NX! XX! EX=1 PX=1 EXAT=1 PXAT=1 KEEPTTL
GETEX 2         EX=1 PX=1 EXAT=1! PXAT=1! PERSIST
HGETEX 2        EX=1 PX=1 EXAT=1! PXAT=1! PERSIST FIELDS$
HSETEX 2        NX! XX! FNX! FXX! EX=1 PX=1 EXAT=1 PXAT=1 KEEPTTL FIELDS$
DELEX 2         IFEQ=1! IFNE=1! IFDEQ=1! IFDNE=1!
EXPIRE 3        NX! XX! GT! LT!
EXPIREAT 3      NX! XX! GT! LT!
PEXPIRE 3       NX! XX! GT! LT!
PEXPIREAT 3     NX! XX! GT! LT!
HEXPIRE 3       NX! XX! GT! LT! FIELDS$
HEXPIREAT 3     NX! XX! GT! LT! FIELDS$
HPEXPIRE 3      NX! XX! GT! LT! FIELDS$
HPEXPIREAT 3    NX! XX! GT! LT! FIELDS$
ZADD 2          NX XX GT LT CH INCR! ...
RESTORE 4       REPLACE~ ABSTTL IDLETIME=1 FREQ=1
SORT 2          BY=1 GET=1 LIMIT=2 ASC DESC ALPHA STORE=1!
GEORADIUS 6     WITHCOORD WITHDIST WITHHASH COUNT=1 ANY ASC DESC STORE=1! STOREDIST=1!
GEORADIUSBYMEMBER 5 WITHCOORD WITHDIST WITHHASH COUNT=1 ANY ASC DESC STORE=1! STOREDIST=1!
MIGRATE 6       COPY REPLACE AUTH=1 AUTH2=2 KEYS$
XREAD 1         COUNT=1 BLOCK=1 STREAMS$
XREADGROUP 1    GROUP=2 COUNT=1 BLOCK=1 CLAIM=1 NOACK STREAMS$
STRALGO 2       KEYS=2 STRINGS=2 LEN IDX MINMATCHLEN=1 WITHMATCHLEN
FUNCTION|LOAD 1 REPLACE~ ...
FUNCTION|RESTORE 2 FLUSH~ REPLACE~ APPEND!
JSON.SET 4      NX! XX! FPHA=1
TS.READ 3       BLOCK=2 MAX_COUNT=1
FT.SUGADD 4     INCR! PAYLOAD=1
"""

# Where the timeout is, or the option it follows; in seconds, or milliseconds.
TIMEOUTS = """
s   BLPOP:-1 BRPOP:-1 BZPOPMAX:-1 BZPOPMIN:-1 BRPOPLPUSH:3 BLMOVE:5 BLMOVEM:5 BLMPOP:1 BZMPOP:1
ms  XREAD:BLOCK XREADGROUP:BLOCK TS.READ:BLOCK WAIT:2 WAITAOF:3
"""

SPLITS = {
    "MGET": Split.VALUES,
    "MSET": Split.PAIRS,
    "DEL": Split.SUM,
    "UNLINK": Split.SUM,
    "EXISTS": Split.SUM,
    "TOUCH": Split.SUM,
}

# Commands that change the state of a connection which others will use after this caller.
REFUSED = """
use Cluster.pipeline(transaction=True): MULTI EXEC DISCARD WATCH UNWATCH
use Cluster.pubsub(): SUBSCRIBE PSUBSCRIBE SSUBSCRIBE UNSUBSCRIBE PUNSUBSCRIBE SUNSUBSCRIBE
use Cluster.durable(): WAIT WAITAOF
client-side caching is not supported yet: CLIENT|TRACKING,CACHING
pass db= to Cluster: SELECT
pass username= and password=, or credential_provider=, to Cluster: AUTH
pass protocol= to Cluster: HELLO
pass client_name= to Cluster: CLIENT|SETNAME
pass read_from= to Cluster: READONLY READWRITE
use Cluster.pipeline(transaction=False) to save round trips: CLIENT|REPLY
use Cluster.close(): RESET QUIT
redirects are followed by the client itself: ASKING
the client introduces itself when it connects: CLIENT|SETINFO,CAPA
use a redis.Redis connection of your own to one node:
    MONITOR SCRIPT|DEBUG CLIENT|NO-EVICT,NO-TOUCH,IMPORT-SOURCE
    HIMPORT|PREPARE,SET,DISCARD,DISCARDALL
only replicas speak this, to their primary: SYNC PSYNC REPLCONF CLUSTER|SYNCSLOTS
the server takes this for a web page's request and hangs up: HOST: POST
"""

_PLACE = re.compile(
    r"(?P<count>#)?(?:(?P<index>\d+)|@(?P<word>[A-Z]+))"
    r"(?::(?P<last>\d+|\*)(?:-(?P<less>\d))?)?"
    r"(?:/(?P<step>\d+|half))?(?P<optional>\?)?(?P<placeholder>!)?"
)
_OPTION = re.compile(r"(?P<word>[A-Z0-9_]+)(?:=(?P<takes>\d)|(?P<rest>\$))?(?P<mark>[!~])?")
_MARKS = {"!": Safety.NEVER, "~": Safety.SAME}


def _rows(text: str) -> Iterator[str]:
    """Yield the rows of a text, continuation lines joined."""
    for row in re.sub(r"\n +", " ", text).splitlines():
        if row:
            yield row


def _names(text: str) -> Iterator[str]:
    """Yield names, with ``CONFIG|GET,SET`` taken apart."""
    for word in text.split():
        container, bar, subcommands = word.partition("|")
        if not bar:
            yield word
            continue
        for subcommand in subcommands.strip(",").split(","):
            yield f"{container} {subcommand}"


def _key_spec(text: str) -> KeySpec:
    match = _PLACE.fullmatch(text)
    if match is None:
        raise AssertionError(text)
    index, step = int(match["index"] or 0), match["step"]
    if match["last"] == "*":
        last = -1 - int(match["less"] or 0)
    else:
        last = int(match["last"] or index or 1) - (index or 1)
    return KeySpec(
        index,
        match["word"] or "",
        last,
        step=1 if step in {None, "half"} else int(step),
        limit=2 if step == "half" else 1,
        numkeys=match["count"] is not None,
        optional=match["optional"] is not None,
        placeholder=match["placeholder"] is not None,
    )


def _options(text: str) -> dict[str, tuple[Options, Mapping[str, Safety]]]:
    table: dict[str, tuple[Options, Mapping[str, Safety]]] = {}
    for row in _rows(text):
        name, start, words = row.split(maxsplit=2)
        takes, safeties = {}, {}
        for match in _OPTION.finditer(words):
            takes[match["word"]] = REST if match["rest"] else int(match["takes"] or 0)
            if match["mark"]:
                safeties[match["word"]] = _MARKS[match["mark"]]
        at = 0 if start == "*" else int(start)
        table[name.replace("|", " ")] = Options(at, takes, open=words.endswith("...")), safeties
    return table


def _timeouts(text: str) -> dict[str, Timeout]:
    table = {}
    for row in _rows(text):
        unit, *entries = row.split()
        for entry in entries:
            name, at = entry.split(":")
            word = at if at.isalpha() else ""
            table[name] = Timeout(0 if word else int(at), word, 1.0 if unit == "s" else 0.001)
    return table


def _refusals(text: str) -> dict[str, str]:
    rows = (row.partition(": ") for row in _rows(text))
    return {name: sentence for sentence, _, names in rows for name in _names(names)}


def single_key(specs: tuple[KeySpec, ...]) -> int:
    """Find the place of a command's only key, 0 if it may have another number of keys."""
    always_there = KeySpec(specs[0].index) if specs else None
    return specs[0].index if specs == (always_there,) else 0


def unknown(name: str) -> CommandSpec:
    """Make the entry for a command that is not in the table: the first argument may be its key."""
    upper = " ".join(name.upper().split())
    return _entry(upper, Safety.NEVER, ((KeySpec(1, optional=True),), Route.KEYS, Merge.NONE))


def _place(text: str) -> _Place:
    route, _, merge = text.partition("/")
    if route in Route.__members__:
        return (), Route[route], Merge[merge or "NONE"]
    return tuple(map(_key_spec, text.split(","))), Route.KEYS, Merge.NONE


def _entry(name: str, safety: Safety, place: _Place, *, container: bool = False) -> CommandSpec:
    specs, route, merge = place
    options, safety_words = _OPTIONS_OF.get(name, (None, NO_WORDS))
    return CommandSpec(
        name,
        tuple(name.encode().split()),
        specs,
        single_key(specs),
        safety is Safety.READ,
        safety,
        safety_words,
        options,
        route,
        SPLITS.get(name, Split.NONE),
        merge,
        _TIMEOUT_OF.get(name),
        _REFUSAL_OF.get(name, ""),
        container,
    )


def _parse() -> dict[str, CommandSpec]:
    table: dict[str, CommandSpec] = {}
    for row in _rows(TABLE):
        safety, where, names = row.split(maxsplit=2)
        place = _place(where)
        for name in _names(names):
            table[name] = _entry(name, Safety[safety], place)
    for name in {"DEBUG", *(name.partition(" ")[0] for name in table if " " in name)}:
        worst = table[name].safety if name in table else Safety.NEVER
        table[name] = _entry(name, worst, _place("DEFAULT"), container=True)
    return table


_OPTIONS_OF = _options(OPTIONS)
_TIMEOUT_OF = _timeouts(TIMEOUTS)
_REFUSAL_OF = _refusals(REFUSED)
COMMANDS: dict[str, CommandSpec] = _parse()
