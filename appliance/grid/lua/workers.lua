-- Workers: their records, their statuses and their teams.
--
-- A team is the workers of one pool on one appliance. `target` of them serve, the others stand by with a warm browser.
-- When one leaves, for whatever reason, the spare that started first takes its place in the same step, so that
-- recycling costs no capacity. On a drained appliance (appliances.lua) no worker serves, and no successor is awaited.

local UNLIMITED = 2 ^ 36  -- remaining sessions of a worker without quota; scores have room for so many (pools.lua)

-- What is read of a worker to place it: each field costs half a microsecond.
local PLACED = {
  'browser', 'minor', 'status', 'suspect', 'lifetime', 'concurrency', 'quota', 'fresh_until', 'unclaimed', 'settled',
  'apart',
}

-- Reads a worker's whole record, or nil if there is none.
function workers.read(id)
  return read(key('worker', id))
end

-- Reads as much of a worker's record as `touch` needs, or nil if there is none.
function workers.find(id)
  local worker = read_fields(key('worker', id), PLACED)
  if worker then worker.id = id end
  return worker
end

function workers.active(id)
  return redis.call('SCARD', key('worker', id, 'sessions'))
end

-- Returns how many slots of a worker are taken: by sessions, and by connections whose sessions Redis has lost and the
-- proxies will assert.
function workers.taken(worker)
  local unclaimed = worker.unclaimed and tonumber(worker.settled) > NOW and tonumber(worker.unclaimed) or 0
  return workers.active(worker.id) + unclaimed
end

function workers.is_fresh(worker)
  return tonumber(worker.fresh_until) >= NOW
end

-- Returns how many sessions a worker may still be given.
function workers.remaining(worker)
  local quota = tonumber(worker.quota)
  return quota == 0 and UNLIMITED or math.max(0, math.min(UNLIMITED, quota - worker.lifetime))
end

-- Returns what a worker shares only with its predecessors and successors.
function workers.full_name(worker)
  return worker.appliance .. '/' .. worker.name
end

local function team(kind, worker)
  return key(kind, worker.browser, worker.minor, worker.appliance)
end

-- Renews, on a worker's behalf, the size of its team, its appliance and its offer; of a drained appliance, or a team
-- that was dissolved, only the appliance, for the team may never come back.
local function speak_for(worker)
  local teams, until_ms = key('teams', worker.browser, worker.minor), whole(worker.fresh_until)
  redis.call('ZADD', key('workers'), until_ms, worker.id)
  redis.call('ZADD', key('appliances'), 'GT', until_ms, worker.appliance)
  if appliances.is_drained(worker.appliance) or tonumber(worker.target) == 0 then
    return redis.call('HDEL', teams, worker.appliance)
  end
  redis.call('HSET', teams, worker.appliance, whole(worker.target) .. ' ' .. whole(worker.spares))
  pools.offer(worker.browser, worker.minor, worker.fresh_until)
end

-- Puts a worker into the lists of its status, and removes it from all others, where a lost record may have left it.
-- Each heartbeat does so, and restores what Redis lost. `worker` is its whole record, `before` its previous status if
-- it has turned.
function workers.enlist(worker, before)
  redis.call(worker.status == 'available' and 'SADD' or 'SREM', team('serving', worker), worker.id)
  if worker.status == 'standby' then
    redis.call('ZADD', team('standby', worker), worker.started, worker.id)
  else
    redis.call('ZREM', team('standby', worker), worker.id)
  end
  if worker.status ~= 'available' then pools.leave(worker.browser, worker.minor, worker.id) end
  recycling.mark(worker, before)
  if worker.status == 'gone' then redis.call('ZREM', key('workers'), worker.id) else speak_for(worker) end
  touch(worker)
  touch_team(worker)
end

-- Which statuses a worker may turn to from each. None leads back: a worker that was away registers as a new one.
local TURNS = {
  new = {standby = true, available = true, draining = true},
  standby = {available = true, draining = true, gone = true},
  available = {draining = true, gone = true},
  draining = {gone = true},
}

local TALLY_KEPT_MS = '604800000'  -- a week after the last end of a worker

-- Counts that a worker drained, crashed or failed, for the metrics of its appliance.
function workers.count_end(worker, kind, cause)
  local name = key('tally', worker.appliance)
  local field = cause and {kind, worker.browser, worker.minor, cause} or {kind, worker.browser}
  redis.call('HINCRBY', name, table.concat(field, ' '), '1')
  redis.call('PEXPIRE', name, TALLY_KEPT_MS)
end

-- Changes a worker's status, records the event, and tells the worker of a drain. Nothing else may. `worker` is its
-- whole record, whose status is nil if it is new; `reason` says why it drains or is gone, and `cause` in one word why
-- it drains.
function workers.turn(worker, status, reason, cause)
  local before, name = worker.status or 'new', key('worker', worker.id)
  assert(TURNS[before][status], string.format('worker %s cannot turn from %s to %s', worker.id, before, status))
  worker.status = status
  if status == 'gone' then redis.call('DEL', name) else redis.call('HSET', name, 'status', status) end
  if before == 'new' then
    record('worker.started', 'worker', worker.id, 'appliance', worker.appliance, 'lifetime', worker.lifetime)
  elseif status == 'available' then
    record('worker.promoted', 'worker', worker.id)
  elseif status == 'draining' then
    redis.call('HSET', name, 'reason', reason)
    workers.count_end(worker, 'drained', cause)
    record('worker.draining', 'worker', worker.id, 'reason', reason)
    tell('worker', worker.id, {drain = reason})
  else
    record('worker.ended', 'worker', worker.id, 'lifetime', worker.lifetime, 'reason', reason)
  end
  workers.enlist(worker, before)
end

-- Fills a team: spares begin to serve until as many serve as its size says.
function workers.fill(browser, minor, appliance)
  local size = redis.call('HGET', key('teams', browser, minor), appliance)
  local target = tonumber((size or '0'):match('^%d+'))
  while redis.call('SCARD', key('serving', browser, minor, appliance)) < target do
    local id = redis.call('ZPOPMIN', key('standby', browser, minor, appliance))[1]
    if not id then return end
    local spare = workers.read(id)
    if spare and spare.status == 'standby' and workers.is_fresh(spare) then workers.turn(spare, 'available') end
  end
end

-- Removes a worker whose record is lost from a team. `member` is `{id, browser, minor, appliance}`.
function workers.forget_member(member)
  local left = redis.call('SREM', team('serving', member), member.id)
  if left + redis.call('ZREM', team('standby', member), member.id) > 0 then touch_team(member) end
end

-- Frees a worker's slots whose sessions are lost or elsewhere: a session whose record was lost may have been granted
-- another slot. A session that has only lost its lease gets one, which its proxy renews if it lives.
function workers.mend_slots(worker)
  local held = redis.call('SMEMBERS', key('worker', worker.id, 'sessions'))
  if #held == 0 then return end
  local leases = redis.call('ZMSCORE', key('leases'), unpack(held))
  for i, id in ipairs(held) do
    local status, at = unpack(redis.call('HMGET', key('session', id), 'status', 'worker'))
    local is_here = status == 'active' and at == worker.id
    if not is_here and (status or not leases[i]) then
      redis.call('SREM', key('worker', worker.id, 'sessions'), id)
    elseif not leases[i] then
      redis.call('ZADD', key('leases'), whole(NOW + worker.ttl), id)
    end
  end
end

-- Tells the proxies of a worker's sessions to end them, and those of kept sessions' clients; `ended_by` says who causes it.
-- Returns these sessions.
function workers.end_sessions(id, reason, ended_by)
  local held = redis.call('SMEMBERS', key('worker', id, 'sessions'))
  for _, session in ipairs(held) do
    for _, proxy in ipairs(redis.call('HMGET', key('session', session), 'proxy', 'visited_by')) do
      if proxy then tell('proxy', proxy, {['end'] = session, worker = id, reason = reason, ended_by = ended_by}) end
    end
  end
  return held
end

-- Ends a worker's sessions at once. Returns how many there were.
local function lose_sessions(id, reason, ended_by)
  local held = workers.end_sessions(id, reason, ended_by)
  for _, session in ipairs(held) do sessions.finish(session, reason, ended_by) end
  redis.call('DEL', key('worker', id, 'sessions'))
  return #held
end

-- Forgets a worker whose record is lost. What it served is not known, so it is removed from every team.
function workers.forget_traces(id, reason, ended_by)
  redis.call('ZREM', key('workers'), id)
  for _, browser in ipairs(BROWSERS) do
    for _, minor in ipairs(pools.recent_minors(browser)) do
      redis.call('SREM', key('apart', browser, minor), id)
      pools.leave(browser, minor, id)
      for _, appliance in ipairs(redis.call('HKEYS', key('teams', browser, minor))) do
        workers.forget_member({id = id, browser = browser, minor = minor, appliance = appliance})
      end
    end
  end
  return lose_sessions(id, reason, ended_by)
end

-- Returns who ends the sessions of a worker that is removed: what crashed, or the worker itself.
local function who_ends(reason, crash)
  if crash == 'hang' then return reason:match('^the browser') and 'browser' or 'driver' end
  if crash == 'memory' or crash == 'disk' then return 'limit' end
  return (crash == 'driver' or crash == 'browser') and crash or 'worker'
end

-- Removes a worker; `crash` says in one word what crashed, nil if nothing did. Returns how many sessions ended with it.
function workers.remove(id, reason, crash)
  local worker, ended_by = workers.read(id), who_ends(reason, crash)
  if not worker then return workers.forget_traces(id, reason, ended_by) end
  local ended = lose_sessions(id, reason, ended_by)
  if crash then workers.count_end(worker, 'crashed', crash) end
  workers.turn(worker, 'gone', reason)
  return ended
end
