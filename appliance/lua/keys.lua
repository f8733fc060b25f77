-- The grid's state and every change of it: one library of Redis Functions.
--
-- The files of this folder are joined in the order that appliance/store.py gives and loaded under a
-- name that holds their hash, so that proxies of two versions can run side by side, if what the keys mean is
-- the same in both; else appliance/store.py gives them another prefix, and they are two grids.
--
-- Rules
--  1. Every function takes one key, the namespace in a hash tag ("{grid}:"), and one argument, a JSON
--     object; it returns a JSON object. All keys derive from the namespace.
--  2. Time is the grid's own, in milliseconds (`tell_time`). The appliances' clocks do not matter, nor
--     does a step of the server's, nor time in which the server could not be reached.
--  3. A slot is taken by membership in its worker's set of sessions, never by a counter. Each member
--     has a lease, and a lease that nobody renews expires.
--  4. A function says what it changed, and the door does what follows (door.lua): a claimable worker and
--     a waiter that it suits never exist side by side once a function has returned. A claim relies on that:
--     it takes a claimable worker without looking at the queue.
--  5. Every function may be called again with the same argument: the second call changes nothing.
--
-- Keys, below the namespace
--  worker:<id>                hash     one worker
--  worker:<id>:sessions       set      the sessions that hold its slots
--  workers                    zset     worker -> until when it counts as alive
--  pool:<browser>:<minor>     zset     worker -> score; the available ones, in three classes (pool.lua)
--  policy:<browser>:<minor>   hash     what the pool's recycling goes by
--  teams:<browser>:<minor>    hash     appliance -> how many workers of it serve, and how many are spare
--  apart:<browser>:<minor>    set      the workers whose ends are apart
--  recycling:<browser>:<minor>  zset   "appliance/slot" -> until when its worker counts as away
--  left:<browser>:<minor>     hash     "appliance/slot" -> when its worker began to be recycled
--  offers:<browser>           zset     Playwright minor -> until when somebody offers it
--  serving:<browser>:<minor>:<appliance>  set   the available workers of a team
--  standby:<browser>:<minor>:<appliance>  zset  worker -> when it started; the spare ones of a team
--  session:<id>               hash     one session, waiting or active; `request` is its claim as it came
--  leases                     zset     active session -> expiry
--  queue:<browser>:<minor>    zset     waiting session -> number of arrival; minor "" suits any
--  queue:<browser>:<minor>:<avoid>  zset  the same for those that avoid these workers and appliances (queue.lua)
--  avoiding:<browser>         set      "minor avoid", of each such queue
--  deadlines                  zset     waiting session -> until when it waits
--  proxies                    zset     proxy -> until when it counts as alive
--  appliances                 zset     appliance -> until when it counts as there: a proxy or a worker of it was heard
--  appliance:<name>           hash     what an appliance says of itself: run, endpoint, version, pools; its door; the turn of its drains, and why it is drained
--  drained                    zset     appliance that is drained -> since when
--  stopping                   zset     appliance that shuts down, without a drain -> until when that is believed
--  kills:<proxy>              hash     session that the proxy is to end -> the reason
--  arrivals:<browser>         string   the last number of arrival
--  clock                      string   the server's time, the grid's time then, and the longest silence
--  sweep                      string   how far the reaper has looked through all keys (a cursor of SCAN)
--  failures                   hash     "appliance/slot" -> why its worker does not start, and until when that counts (JSON)
--  launch:<appliance>         string   time of the appliance's last launch turn
--  capacity                   string   how many workers of each pool there were, for a moment (registry/capacity.py)
--  census                     string   how many workers and sessions of each appliance, likewise (registry/appliances.py)
--  door                       hash     the inner door's key, the one before it, and when it was made (secret.lua)
--  events                     stream   starts and ends, the newest ones
-- Keys outside of the schema's version, directly below "{grid}:" (tokens.lua)
--  tokens                     hash     digest -> token, the revoked ones too
--  tokens:used                hash     digest -> when the token was last used
-- Channels: proxy:<id> and worker:<id> carry JSON messages, each only a hint to look.

local NS, NOW

local EVENTS_KEPT = '10000'
local BROWSERS = {'chromium', 'firefox', 'webkit'}

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
  for i, field in ipairs(fields) do hash[field] = values[i] or nil end
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

local CLOCK_RESOLUTION = 100
local LONGEST_SILENCE = 5000

local function read_clock()
  return (redis.call('GET', key('clock')) or ''):match('(%d+) (%d+) (%d+)')
end

local function write_clock(seen, grid, longest)
  redis.call('SET', key('clock'), string.format('%d %d %d', seen, grid, longest))
end

-- Returns when the newest heartbeat came, for a clock that is lost; the server's time if there is none.
local function newest_heartbeat(wall)
  local newest = 0
  for _, id in ipairs(redis.call('ZRANGE', key('workers'), 0, 9, 'REV')) do
    local heartbeat = tonumber(redis.call('HGET', key('worker', id), 'heartbeat') or 0)
    newest = math.max(newest, heartbeat)
  end
  return newest > 0 and newest or wall
end

-- Gives the grid's time, in milliseconds: the server's, but a step back counts as nothing, and a silence
-- of all callers as `longest` at most. So a step of the server's clock, a pause of the server and a
-- network that was away expire nothing: those who could not speak in time still can.
local function tell_time()
  local time = redis.call('TIME')
  local wall = time[1] * 1000 + math.floor(time[2] / 1000)
  local seen, grid, longest = read_clock()
  if not seen then grid = newest_heartbeat(wall) end
  local passed = wall - (seen or wall)
  if seen and passed >= 0 and passed < CLOCK_RESOLUTION then return grid + passed end
  longest = tonumber(longest or LONGEST_SILENCE)
  grid = grid + math.max(0, math.min(passed, longest))
  write_clock(wall, grid, longest)
  return grid
end

-- Sets how much of a silence of all callers counts.
local function limit_silence(ms)
  local seen, grid, longest = read_clock()
  ms = math.max(ms, CLOCK_RESOLUTION)
  if tonumber(longest) ~= ms then write_clock(seen, grid, ms) end
end

local function tell(kind, id, message)
  redis.call('PUBLISH', key(kind, id), cjson.encode(message))
end

local function record(event, ...)
  redis.call('XADD', key('events'), 'MAXLEN', '~', EVENTS_KEPT, '*', 'event', event, ...)
end
