-- The grid's state and every change of it: one library of Redis Functions.
--
-- The files of this folder are joined in the order that appliance/grid/store.py gives and loaded under a
-- name that holds their hash, so that proxies of two versions can run side by side if the keys mean the same
-- to both. Otherwise their prefixes differ (SCHEMA in appliance/grid/store.py), and they are two grids.
--
-- Rules
--  1. Every function takes one key, the namespace in a hash tag ("{grid}:"), and one argument, a JSON
--     object; it returns a JSON object. All keys derive from the namespace. A comment before each function
--     says what its argument and its answer hold; a method of appliance/grid/ bears its name.
--  2. Time is the grid's own, in milliseconds (clock.lua). The appliances' clocks do not matter, nor
--     does a step of the server's, nor time in which the server could not be reached.
--  3. A slot is taken by membership in its worker's set of sessions, never by a counter. Each member
--     has a lease, and a lease that nobody renews expires.
--  4. A function says what it changed, and the door does what follows (door.lua). So when a function has
--     returned, no session waits that a claimable worker suits. A claim relies on that: it takes a claimable
--     worker without looking at the queue.
--  5. Every function may be called again with the same argument: the second call changes nothing.
--  6. What one file offers to others is in the table with its name; all else in the file is its own.
--
-- Keys, below the namespace
--  worker:<id>                hash     one worker
--    id browser version minor appliance name pid        what it is; its successors have its `name`
--    concurrency quota target spares ttl                its settings; `ttl` is how long a heartbeat counts
--    isolation channel beside                           for operators; `beside` is what is behind the version in `minor`
--    status reason lifetime                             workers.lua; `reason` of a drain; sessions that it was given
--    started heartbeat fresh_until memory               times, and bytes
--    connections settle_ms unclaimed settled            sessions that Redis may have forgotten (registration.lua)
--    suspect                                            the proxy that could not reach it, until a heartbeat refutes it
--    apart                                              set while its end is apart from the others' (recycling.lua)
--  worker:<id>:sessions       set      the sessions that hold its slots
--  workers                    zset     worker -> until when it counts as alive
--  pool:<browser>:<minor>     zset     worker -> score; the available ones, in three classes (pools.lua). A minor is
--                                      like "1.65"; "1.65/browser" is that of the pool beside it, for isolation=browser
--  policy:<browser>:<minor>   hash     what selection and recycling go by
--    quota margin recycles_until                        for selection (pools.lua)
--    starts sampled counted rate demand                 sessions that started, and how fast (recycling.lua)
--    away_ms away_deviation_ms                          how long a recycled worker is away
--  teams:<browser>:<minor>    hash     appliance -> how many workers of it serve, and how many are spare
--  apart:<browser>:<minor>    set      the workers whose ends are apart
--  recycling:<browser>:<minor>  zset   "appliance/name" -> until when that worker counts as away
--  left:<browser>:<minor>     hash     "appliance/name" -> when that worker began to be recycled
--  offers:<browser>           zset     Playwright minor -> until when somebody offers it
--  serving:<browser>:<minor>:<appliance>  set   the available workers of a team
--  standby:<browser>:<minor>:<appliance>  zset  worker -> when it started; the spare ones of a team
--  session:<id>               hash     one session
--    request proxy status worker                        its claim as it came; "waiting" or "active", and where
--    started granted arrival deadline                   times; its number of arrival; until when it waits
--    pool                                               its pool's minor, if that is not its own (pools.lua, `of`)
--    avoid                                              what it avoids now, if that is not what it claimed with
--    kept_as token kept                                 its name for reconnecting, whose; since when it has no client
--    visited_by                                         the proxy of its last client, if that is another one
--    queued                                             what it found when it entered its queue (queue.lua), and which
--                                                       workers it gave back and why, as JSON
--    traffic                                            what it has moved: bytes and messages from and to its client
--    visit                                              its last visits, as "VISIT TRAFFIC;…"; not in `traffic`
--  kept                       hash     token and name of a session that clients may reconnect to, as JSON -> session
--  leases                     zset     active session -> expiry
--  queue:<browser>:<minor>    zset     waiting session -> number of arrival; minor "" or "/browser" suits any
--  queue:<browser>:<minor>:<avoid>  zset  the sessions that avoid these workers and appliances (queue.lua)
--  avoiding:<browser>         set      "minor avoid", of each such queue
--  deadlines                  zset     waiting session -> until when it waits
--  proxies                    zset     proxy -> until when it counts as alive
--  appliances                 zset     appliance -> until when it counts as there: a proxy or a worker of it was heard
--  appliance:<name>           hash     one appliance
--    run since epoch drain_reason                       its run, since when; number of drains, last reason
--    proxy endpoint address port certificate version pools relayed admits heard settle_ms serves_redis rival
--                                                       what it announces (appliances.lua)
--  drained                    zset     appliance that is drained -> since when
--  stopping                   zset     appliance that shuts down, without a drain -> until when that is believed
--  kills:<proxy>              hash     session that the proxy must end -> the reason
--  arrivals:<browser>         string   the last number of arrival
--  clock                      string   the server's time, the grid's time then, and the longest silence
--  sweep                      string   how far the reaper has looked through all keys (a cursor of SCAN)
--  failures                   hash     "appliance/name" -> why that worker does not start, and until when (JSON)
--  tally:<appliance>          hash     "drained browser minor cause", "crashed …", "failed browser" -> how many workers did
--  launch:<appliance>         string   time of the appliance's last launch turn
--  capacity                   string   what count_workers counted, kept for 2 s (appliance/grid/views.py)
--  census                     string   what count_appliances counted, kept for 2 s
--  door                       hash     the inner door's key (secret.lua)
--    current previous made                              the key, the one before it, and since when it is the key
--  wanted                     zset     "browser minor" that sessions wait for and nobody serves -> since when
--  wanted:<browser>:<minor>   hash     such a wish (wishes.lua)
--    status wanted_until                                open, held or failed; until when somebody wants it
--    by held_until progress                             the appliance that gets it, until when, and how far it is
--    failed_by was_full                                 the appliances that failed, in spaces; whether one had no room
--    failure failures retry_at                          why it failed, how often, and when it may be wished again
--  providers:<minor>          zset     appliance that can get this version's driver -> until when
--  lacking:<minor>            string   why an appliance cannot get it
--  events                     stream   starts and ends, the newest ones
--  history                    stream   one entry for each session that has ended, at the grid's time (history.lua)
--    request end                                        as in its session's hash; the rest, by these lines:
--    worker started granted traffic visit queued        as there
--    left ended_by reason                               why its worker drained; who ended it (story.py); a sentence
--  presumed:<session>         string   its entry, written by another than its proxy, which may know better
--  index                      hash     session -> its entry in the history, as far as somebody has asked (history.lua)
--  samples                    stream   the last hour in numbers, every 10 s (appliance/grid/samples.py)
--  sampled                    string   there for as long as no further sample is due
--  viewers                    zset     worker and viewer of one of its sessions -> until when (appliance/grid/viewers.py)
-- Keys outside of the schema's version, directly below "{grid}:" (tokens.lua)
--  tokens                     hash     digest -> token, the revoked ones too
--  tokens:used                hash     digest -> when the token was last used
--
-- Messages: JSON on the channels proxy:<id>, worker:<id> and pools:<appliance>. Each is only a hint to look; a key says
-- the same.
--  to a proxy   {granted = session}                     a slot was handed to a session that waited
--               {kill = session, reason}                an operator ends a session
--               {end = session, worker, reason, ended_by}  a worker's end is the session's
--               {expired = session}                     its lease expired: the proxy asserts it if it runs
--               {refuted = worker, appliance}           a worker that the proxy suspected is healthy
--               {appliance = true}, {tokens = true}     a drain of the appliance has begun or ended; tokens have changed
--  to a worker  {drain = reason}, {drained = true}      it gets no new sessions; it has none left
--               {suspect = true}                        a proxy could not reach it
--  to pools     {wanted = minor}                        a session wants a version that nobody serves

local NS, NOW

local EVENTS_KEPT = '10000'
local BROWSERS = {'chromium', 'firefox', 'webkit'}

local pools, recycling, workers, queue, sessions, history, appliances, wishes = {}, {}, {}, {}, {}, {}, {}, {}

local function key(kind, a, b, c)
  if c then return NS .. kind .. ':' .. a .. ':' .. b .. ':' .. c end
  if b then return NS .. kind .. ':' .. a .. ':' .. b end
  return a and NS .. kind .. ':' .. a or NS .. kind
end

-- Writes a whole number as Redis is given it; left to Redis, that takes several times as long.
local function whole(number)
  return string.format('%d', number)
end

-- Reads a hash as a table, or nil if it does not exist.
local function read(name)
  local flat = redis.call('HGETALL', name)
  if #flat == 0 then return nil end
  local hash = {}
  for i = 1, #flat, 2 do hash[flat[i]] = flat[i + 1] end
  return hash
end

-- Reads some fields of a hash as a table, or nil if it does not exist; the first field is always set.
local function read_fields(name, fields)
  local values = redis.call('HMGET', name, unpack(fields))
  if not values[1] then return nil end
  local hash = {}
  for i = 1, #fields do hash[fields[i]] = values[i] or nil end
  return hash
end

-- Writes a table's fields into a hash.
local function write(name, fields)
  local flat = {}
  for field, value in pairs(fields) do
    flat[#flat + 1] = field
    flat[#flat + 1] = tostring(value)
  end
  redis.call('HSET', name, unpack(flat))
end

local function tell(kind, id, message)
  redis.call('PUBLISH', key(kind, id), cjson.encode(message))
end

local function record(event, ...)
  redis.call('XADD', key('events'), 'MAXLEN', '~', EVENTS_KEPT, '*', 'event', event, ...)
end
