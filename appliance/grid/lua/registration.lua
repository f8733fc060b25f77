-- A worker's life: a turn to launch, registration, heartbeats, drain, removal; or the reason why it cannot start.

-- take_launch_turn {appliance, stagger_ms} -> {wait_ms}
-- 0: launch now. Otherwise: ask again after that time. A turn is not reserved, so a worker that dies while it waits
-- delays no other.
register('take_launch_turn', function(a)
  local name = key('launch', a.appliance)
  local wait = tonumber(redis.call('GET', name) or 0) + a.stagger_ms - NOW
  if wait > 0 then return {wait_ms = wait} end
  redis.call('SET', name, NOW, 'PX', math.max(1, math.ceil(a.stagger_ms)))
  record('worker.launching', 'appliance', a.appliance, 'at', NOW)
  return {wait_ms = 0}
end)

-- Sets how many connections a driver has beyond the sessions that Redis knows: their slots are taken until the proxies
-- assert these sessions, or for `settle_ms`. In that time the number does not fall by itself: a session that was
-- granted meanwhile may not have its connection yet. Returns whether there was anything to set.
local function note_unclaimed(worker, connections, settle_ms)
  local surplus, known = math.max(0, connections - workers.active(worker.id)), tonumber(worker.unclaimed or 0)
  if surplus == 0 and known == 0 then return false end
  local is_settling = known > 0 and tonumber(worker.settled) > NOW
  if is_settling then surplus = math.max(surplus, known) else worker.settled = NOW + settle_ms end
  worker.unclaimed = surplus
  return true
end

-- register_worker {id, browser, version, minor, appliance, name, status, lifetime,
--                  concurrency, quota, target, spares, ttl, pid, connections, settle_ms, run, drained, epoch,
--                  isolation, channel, beside}
-- -> {status, lifetime}
-- Registers a worker, or registers it again: then its status stays, and its lifetime never falls. A standby serves at
-- once if fewer than `target` of its team do. `run`, `drained` and `epoch` come from its appliance's record.
register('register_worker', function(a)
  appliances.recall(a.appliance, a.run, a.drained, a.epoch)
  a.run, a.drained, a.epoch = nil, nil, nil
  local name, status = key('worker', a.id), a.status
  local known = workers.read(a.id)
  a.heartbeat, a.fresh_until = NOW, NOW + a.ttl
  a.status = known and known.status
  if known then
    a.lifetime = math.max(a.lifetime, tonumber(known.lifetime))
  else
    a.started = NOW
    note_unclaimed(a, a.connections, a.settle_ms)
    redis.call('HSET', key('policy', a.browser, a.minor), 'quota', a.quota)
    touch_policy(a.browser, a.minor)
    recycling.welcome(a)
  end
  redis.call('HDEL', name, 'suspect')
  write(name, a)
  local worker = workers.read(a.id)
  if known then workers.enlist(worker) else workers.turn(worker, status) end
  if worker.status == 'available' and appliances.is_drained(a.appliance) then
    workers.turn(worker, 'draining', 'its appliance is drained', 'appliance')
  end
  redis.call('HDEL', key('failures'), workers.full_name(a))
  return function() return {status = redis.call('HGET', name, 'status'), lifetime = a.lifetime} end
end)

-- Makes a suspect worker claimable again, and tells the proxy that suspected it.
local function clear_suspicion(worker)
  if not worker.suspect then return end
  redis.call('HDEL', key('worker', worker.id), 'suspect')
  tell('proxy', worker.suspect, {refuted = worker.id, appliance = worker.appliance})
  worker.suspect = nil
end

-- heartbeat_worker {id, memory, healthy, connections, settle_ms} -> {known, status, reason, lifetime, active, suspect}
-- `healthy` means that the browser has just answered: a suspect worker is claimable again. `connections` counts those
-- of its driver if Redis may have lost sessions (a failover), else it is -1. `reason` says why it drains, in case that
-- message was lost.
register('heartbeat_worker', function(a)
  local name, worker = key('worker', a.id), workers.read(a.id)
  if not worker then return {known = false} end
  worker.heartbeat, worker.fresh_until = NOW, NOW + worker.ttl
  redis.call('HSET', name, 'heartbeat', whole(NOW), 'fresh_until', whole(worker.fresh_until), 'memory', whole(a.memory))
  if a.healthy then clear_suspicion(worker) end
  workers.mend_slots(worker)
  if a.connections >= 0 and note_unclaimed(worker, a.connections, a.settle_ms) then
    redis.call('HSET', name, 'unclaimed', whole(worker.unclaimed), 'settled', whole(worker.settled))
  end
  if worker.apart then redis.call('SADD', key('apart', worker.browser, worker.minor), a.id) end
  workers.enlist(worker)
  touch_ends(worker.browser, worker.minor)
  return function()
    local status, reason = unpack(redis.call('HMGET', name, 'status', 'reason'))
    return {
      known = true, status = status, reason = reason or '', lifetime = tonumber(worker.lifetime),
      active = workers.active(a.id), suspect = worker.suspect ~= nil,
    }
  end
end)

-- drain_worker {id, reason, cause} -> {known, active}
-- Drains a worker: it gets no new sessions. It is told, and told again when its last session has ended.
register('drain_worker', function(a)
  local worker = workers.read(a.id)
  if not worker then return {known = false, active = 0} end
  if worker.status ~= 'draining' then workers.turn(worker, 'draining', a.reason, a.cause) end
  return {known = true, active = workers.active(a.id)}
end)

-- end_sessions {worker, reason, ended_by} -> {ended}
-- Asks the proxies to end a worker's sessions. Each slot comes free when its proxy releases it.
register('end_sessions', function(a)
  return {ended = #workers.end_sessions(a.worker, a.reason, a.ended_by)}
end)

-- remove_worker {id, reason, crash} -> {sessions}
-- Removes a worker and ends its sessions with the reason; `crash` says what crashed, "" if nothing did. Returns how
-- many there were.
register('remove_worker', function(a)
  return {sessions = workers.remove(a.id, a.reason, a.crash ~= '' and a.crash or nil)}
end)

-- report_failure {appliance, name, browser, reason, ttl_ms} -> {}
-- Records that a worker of this name failed before it could serve, or soon after; for `ttl_ms`, or until one registers.
register('report_failure', function(a)
  local failures = key('failures')
  workers.count_end(a, 'failed')
  local failure = {appliance = a.appliance, name = a.name, browser = a.browser, reason = a.reason, until_ms = NOW + a.ttl_ms}
  redis.call('HSET', failures, workers.full_name(a), cjson.encode(failure))
  if redis.call('PTTL', failures) < a.ttl_ms then redis.call('PEXPIRE', failures, a.ttl_ms) end
  return {}
end)
