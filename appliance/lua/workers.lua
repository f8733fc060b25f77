-- The workers' functions: launch turns, registration, heartbeat, drain, removal; and the reaper.

-- take_launch_turn {appliance, stagger_ms} -> {wait_ms}
-- 0: launch now. Otherwise: ask again after that time. A turn that is not taken is not reserved, so
-- that a worker that dies while it waits delays nobody.
register('take_launch_turn', function(a)
  local name = key('launch', a.appliance)
  local wait = tonumber(redis.call('GET', name) or 0) + a.stagger_ms - NOW
  if wait > 0 then return {wait_ms = wait} end
  redis.call('SET', name, NOW, 'PX', math.max(1, math.ceil(a.stagger_ms)))
  record('worker.launching', 'appliance', a.appliance, 'at', NOW)
  return {wait_ms = 0}
end)

-- Notes how many more connections a driver holds than Redis knows sessions of: their proxies are about to assert these,
-- and so long, at most `settle_ms`, their slots are taken. Until then the number does not fall by itself: a session that
-- was granted meanwhile may not be among the connections yet. Returns whether there is anything to note.
local function note_unclaimed(worker, connections, settle_ms)
  local surplus, known = math.max(0, connections - active_of(worker.id)), tonumber(worker.unclaimed or 0)
  if surplus == 0 and known == 0 then return false end
  local is_settling = known > 0 and tonumber(worker.settled) > NOW
  if is_settling then surplus = math.max(surplus, known) else worker.settled = NOW + settle_ms end
  worker.unclaimed = surplus
  return true
end

-- register_worker {id, browser, version, minor, appliance, slot, status, lifetime,
--                  concurrency, quota, target, spares, ttl, pid, connections, settle_ms, run, drained, turn}
-- -> {status, lifetime}
-- Registers a worker, or registers it again: then its status stays and its lifetime never falls. One
-- that comes as standby serves at once if its team has fewer than `target` that do. `run`, `drained` and `turn` are
-- what its appliance remembers of itself.
register('register_worker', function(a)
  recall(a.appliance, a.run, a.drained, a.turn)
  a.run, a.drained, a.turn = nil, nil, nil
  local name, status = key('worker', a.id), a.status
  local known = read(name)
  a.heartbeat, a.fresh_until = NOW, NOW + a.ttl
  a.status = known and known.status
  if known then
    a.lifetime = math.max(a.lifetime, tonumber(known.lifetime))
  else
    a.started = NOW
    note_unclaimed(a, a.connections, a.settle_ms)
    redis.call('HSET', key('policy', a.browser, a.minor), 'quota', a.quota)
    touch_policy(a.browser, a.minor)
    welcome_back(a)
  end
  redis.call('HDEL', name, 'suspect')
  write(name, a)
  local worker = read(name)
  if known then enlist(worker) else turn(worker, status) end
  if worker.status == 'available' and is_drained(a.appliance) then
    turn(worker, 'draining', 'its appliance is drained')
  end
  forget_failure(a.appliance, a.slot)
  return function() return {status = redis.call('HGET', name, 'status'), lifetime = a.lifetime} end
end)

-- Frees the slots of a worker whose sessions are lost or elsewhere: one whose record was lost may have been granted
-- another slot. One whose lease alone is lost gets a lease again, which its proxy renews if it lives.
local function mend_slots(worker)
  local sessions = redis.call('SMEMBERS', key('worker', worker.id, 'sessions'))
  if #sessions == 0 then return end
  local leases = redis.call('ZMSCORE', key('leases'), unpack(sessions))
  for i, id in ipairs(sessions) do
    local state, at = unpack(redis.call('HMGET', key('session', id), 'state', 'worker'))
    local is_here = state == 'active' and at == worker.id
    if not is_here and (state or not leases[i]) then
      redis.call('SREM', key('worker', worker.id, 'sessions'), id)
    elseif not leases[i] then
      redis.call('ZADD', key('leases'), whole(NOW + worker.ttl), id)
    end
  end
end

-- Lets a worker that was suspect take sessions again. Who suspected it is told that it was wrong.
local function clear_suspicion(worker)
  if not worker.suspect then return end
  redis.call('HDEL', key('worker', worker.id), 'suspect')
  tell('proxy', worker.suspect, {refuted = worker.id, appliance = worker.appliance})
  worker.suspect = nil
end

-- heartbeat_worker {id, memory, healthy, connections, settle_ms} -> {known, status, reason, lifetime, active, suspect}
-- `healthy` says that the browser was just seen to answer: a suspect worker is claimable again. `connections` counts
-- those of its driver if Redis may have lost sessions (a failover), else it is -1.
-- `reason` says why it drains, for a worker that the message about it has not reached (yet).
register('heartbeat_worker', function(a)
  local name = key('worker', a.id)
  local worker = read(name)
  if not worker then return {known = false} end
  worker.heartbeat, worker.fresh_until = NOW, NOW + worker.ttl
  redis.call('HSET', name, 'heartbeat', whole(NOW), 'fresh_until', whole(worker.fresh_until), 'memory', whole(a.memory))
  if a.healthy then clear_suspicion(worker) end
  mend_slots(worker)
  if a.connections >= 0 and note_unclaimed(worker, a.connections, a.settle_ms) then
    redis.call('HSET', name, 'unclaimed', whole(worker.unclaimed), 'settled', whole(worker.settled))
  end
  if worker.apart then redis.call('SADD', key('apart', worker.browser, worker.minor), a.id) end
  enlist(worker)
  touch_ends(worker.browser, worker.minor)
  return function()
    return {
      known = true, status = redis.call('HGET', name, 'status'), reason = redis.call('HGET', name, 'reason') or '',
      lifetime = tonumber(worker.lifetime), active = active_of(a.id), suspect = worker.suspect ~= nil,
    }
  end
end)

-- drain_worker {id, reason} -> {known, active}
-- No new sessions for this worker; it is told, and told again when its last session has ended.
register('drain_worker', function(a)
  local worker = read(key('worker', a.id))
  if not worker then return {known = false, active = 0} end
  if worker.status ~= 'draining' then turn(worker, 'draining', a.reason) end
  return {known = true, active = active_of(a.id)}
end)

-- Tells the proxies of a worker's sessions to end them.
local function end_sessions(id, reason)
  local sessions = redis.call('SMEMBERS', key('worker', id, 'sessions'))
  for _, session in ipairs(sessions) do
    local proxy = redis.call('HGET', key('session', session), 'proxy')
    if proxy then tell('proxy', proxy, {['end'] = session, worker = id, reason = reason}) end
  end
  return sessions
end

-- end_sessions {worker, reason} -> {ended}
-- Asks for the end of a worker's sessions; each slot comes free when its proxy has released it.
register('end_sessions', function(a)
  return {ended = #end_sessions(a.worker, a.reason)}
end)

local OFFERS_KEPT_MS = 600000  -- after they are over, for the sake of workers that were lost meanwhile

-- Forgets a worker whose record is lost, so that it is not known what it served: it is looked for in every team.
local function forget_traces(id, reason)
  redis.call('ZREM', key('workers'), id)
  for _, browser in ipairs(BROWSERS) do
    for _, minor in ipairs(minors_of(browser, NOW - OFFERS_KEPT_MS)) do
      redis.call('SREM', key('apart', browser, minor), id)
      leave_pool(browser, minor, id)
      for appliance in pairs(read(key('teams', browser, minor)) or {}) do
        forget_member({id = id, browser = browser, minor = minor, appliance = appliance})
      end
    end
  end
  for _, session in ipairs(end_sessions(id, reason)) do finish(session, reason) end
  redis.call('DEL', key('worker', id, 'sessions'))
end

local function remove(id, reason)
  local worker = read(key('worker', id))
  if not worker then
    forget_traces(id, reason)
    return 0
  end
  local sessions = end_sessions(id, reason)
  for _, session in ipairs(sessions) do finish(session, reason) end
  redis.call('DEL', key('worker', id, 'sessions'))
  turn(worker, 'gone', reason)
  return #sessions
end

-- remove_worker {id, reason} -> {sessions}
-- Forgets a worker; its remaining sessions end with the reason. Gives how many these were.
register('remove_worker', function(a)
  return {sessions = remove(a.id, a.reason)}
end)
