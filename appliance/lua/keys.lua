-- The grid's state and every change of it: one library of Redis Functions.
--
-- The files of this folder are joined in the order that appliance/store.py gives and loaded under a
-- name that holds their hash, so that proxies of two versions can run side by side.
--
-- Rules
--  1. Every function takes one key, the namespace in a hash tag ("{grid}:"), and one argument, a JSON
--     object; it returns a JSON object. All keys derive from the namespace.
--  2. Time is the server's, in milliseconds. Appliances' clocks do not matter.
--  3. A slot is taken by membership in its worker's set of sessions, never by a counter. Each member
--     has a lease, and a lease that nobody renews expires.
--  4. Whatever frees or creates a slot calls `place` and then `dispatch`, so that a claimable worker
--     and a waiter that it suits never exist side by side once a function has returned.
--  5. Every function may be called again with the same argument: the second call changes nothing.
--
-- Keys, below the namespace
--  worker:<id>                hash     one worker
--  worker:<id>:sessions       set      the sessions that hold its slots
--  workers                    zset     worker -> last heartbeat
--  members:<browser>:<minor>  zset     worker -> quota; the workers of a pool, without those on standby
--  pool:<browser>:<minor>     zset     worker -> score; the claimable ones
--  offers:<browser>           zset     Playwright minor -> until when somebody offers it
--  serving:<browser>:<minor>:<appliance>  set   the available workers of a team
--  standby:<browser>:<minor>:<appliance>  zset  worker -> when it started; the spare ones of a team
--  session:<id>               hash     one session, waiting or active
--  leases                     zset     active session -> expiry
--  queue:<browser>:<minor>    zset     waiting session -> number of arrival; minor "" suits any
--  deadlines                  zset     waiting session -> until when it waits
--  proxies                    zset     proxy -> until when it counts as alive
--  arrivals                   string   the last number of arrival
--  reaped                     string   when the reaper last ran
--  grace                      string   exists while nothing is reaped, after an outage
--  launch:<appliance>         string   time of the appliance's last launch turn
--  events                     stream   starts and ends, the newest ones
-- Channels: proxy:<id> and worker:<id> carry JSON messages, each only a hint to look.

local NS, NOW

local EVENTS_KEPT = 10000

local function key(...)
  return NS .. table.concat({...}, ':')
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

local function tell(kind, id, message)
  redis.call('PUBLISH', key(kind, id), cjson.encode(message))
end

local function record(event, ...)
  redis.call('XADD', key('events'), 'MAXLEN', '~', EVENTS_KEPT, '*', 'event', event, ...)
end

-- Makes a function of the library out of a body that takes and gives a table.
local function register(name, body)
  redis.register_function(name .. '_@HASH@', function(keys, args)
    local time = redis.call('TIME')
    NS, NOW = keys[1], time[1] * 1000 + math.floor(time[2] / 1000)
    return cjson.encode(body(cjson.decode(args[1])))
  end)
end
