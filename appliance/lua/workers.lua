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

-- register_worker {id, browser, version, minor, appliance, slot, status, lifetime,
--                  concurrency, quota, target, spares, ttl, pid, connections, settle_ms, run, drained, turn}
-- -> {status, lifetime}
-- Registers a worker, or registers it again: then its status stays and its lifetime never falls. One
-- that comes as standby serves at once if its team has fewer than `target` that do. `run`, `drained` and `turn` are
-- what its appliance remembers of itself.
register('register_worker', function(a)
  recall(a.appliance, a.run, a.drained, a.turn)
  a.run, a.drained, a.turn = nil, nil, nil
  local name = key('worker', a.id)
  local known = read(name)
  if known then
    a.lifetime = math.max(a.lifetime, tonumber(known.lifetime))
    a.status = known.status
  else
    a.started = NOW
    if a.connections > 0 then a.unclaimed, a.settled = a.connections, NOW + a.settle_ms end
    redis.call('HSET', key('policy', a.browser, a.minor), 'quota', a.quota)
    size_team(a)
    welcome_back(a)
    record('worker.started', 'worker', a.id, 'appliance', a.appliance, 'lifetime', a.lifetime)
  end
  a.heartbeat, a.fresh_until = NOW, NOW + a.ttl
  redis.call('HDEL', name, 'suspect')
  write(name, a)
  redis.call('ZADD', key('workers'), whole(a.fresh_until), a.id)
  speak_for(a)
  forget_failure(a.appliance, a.slot)
  if a.status == 'available' and is_drained(a.appliance) then
    drain(a.id, 'its appliance is drained')
  else
    join(read(name))
  end
  dispatch(a.browser, a.minor)
  return {status = redis.call('HGET', name, 'status'), lifetime = a.lifetime}
end)

-- heartbeat_worker {id, memory, healthy} -> {known, status, reason, lifetime, active, suspect}
-- `healthy` says that the browser was just seen to answer: a suspect worker is claimable again.
-- `reason` says why it drains, for a worker that the message about it has not reached (yet).
register('heartbeat_worker', function(a)
  local name = key('worker', a.id)
  local worker = read(name)
  if not worker then return {known = false} end
  worker.heartbeat, worker.fresh_until = NOW, NOW + worker.ttl
  redis.call('HSET', name, 'heartbeat', whole(NOW), 'fresh_until', whole(worker.fresh_until), 'memory', whole(a.memory))
  if a.healthy then
    redis.call('HDEL', name, 'suspect')
    worker.suspect = nil
  end
  redis.call('ZADD', key('workers'), whole(worker.fresh_until), a.id)
  speak_for(worker)
  join(worker)
  keep_ends_apart(worker.browser, worker.minor)
  dispatch(worker.browser, worker.minor)
  return {
    known = true, status = redis.call('HGET', name, 'status'), reason = redis.call('HGET', name, 'reason') or '',
    lifetime = tonumber(worker.lifetime), active = active_of(a.id), suspect = worker.suspect ~= nil,
  }
end)

-- drain_worker {id, reason} -> {known, active}
-- No new sessions for this worker; it is told, and told again when its last session has ended.
register('drain_worker', function(a)
  local worker = read_worker(a.id)
  if not worker then return {known = false, active = 0} end
  if worker.status ~= 'draining' then
    drain(a.id, a.reason)
    dispatch(worker.browser, worker.minor)
  end
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

local function remove(id, reason)
  local worker = read(key('worker', id))
  if not worker then return 0 end
  local sessions = end_sessions(id, reason)
  redis.call('DEL', key('worker', id))
  redis.call('ZREM', key('workers'), id)
  bid_farewell(worker)
  worker.status = 'gone'
  leave(worker)
  dispatch(worker.browser, worker.minor)
  for _, session in ipairs(sessions) do finish(session, reason) end
  redis.call('DEL', key('worker', id, 'sessions'))
  record('worker.ended', 'worker', id, 'lifetime', worker.lifetime, 'reason', reason)
  return #sessions
end

-- remove_worker {id, reason} -> {sessions}
-- Forgets a worker; its remaining sessions end with the reason. Gives how many these were.
register('remove_worker', function(a)
  return {sessions = remove(a.id, a.reason)}
end)

local REAPED_AT_ONCE = 100

-- Forgets the proxies that are gone, and the tickets that waited in them: they would fill the queue.
local function forget_proxies()
  local proxies, forgotten = key('proxies'), 0
  if redis.call('ZREMRANGEBYSCORE', proxies, '-inf', '(' .. NOW) == 0 then return 0 end
  for _, id in ipairs(redis.call('ZRANGE', key('deadlines'), 0, -1)) do
    local proxy = redis.call('HGET', key('session', id), 'proxy')
    if not (proxy and redis.call('ZSCORE', proxies, proxy)) then
      if not finish(id, 'its proxy stopped answering') then redis.call('ZREM', key('deadlines'), id) end
      forgotten = forgotten + 1
    end
  end
  return forgotten
end

-- Ends the sessions whose leases have expired. A proxy that lives all the same, and was only paused or cut off, is told,
-- so that it asserts them soon. Gives how many these were.
local function end_expired()
  local expired = redis.call('ZRANGEBYSCORE', key('leases'), '-inf', NOW, 'LIMIT', 0, REAPED_AT_ONCE)
  for _, id in ipairs(expired) do
    local proxy = redis.call('HGET', key('session', id), 'proxy')
    if finish(id, 'its proxy stopped answering') then tell('proxy', proxy, {expired = id}) end
    redis.call('ZREM', key('leases'), id)
  end
  return #expired
end

-- reap {silence_ms} -> {workers, sessions, waiting}
-- Removes workers whose heartbeats have stopped, sessions whose leases have expired, tickets whose proxies
-- or deadlines are gone, and appliances that nobody hears of. Every proxy calls it; whoever comes first does
-- the work. From now on the grid's clock counts a silence of all callers as `silence_ms` at most.
register('reap', function(a)
  local count = {workers = 0, sessions = 0, waiting = 0}
  limit_silence(a.silence_ms)
  local late = redis.call('ZRANGE', key('workers'), '-inf', '(' .. whole(NOW), 'BYSCORE', 'LIMIT', 0, REAPED_AT_ONCE)
  for _, id in ipairs(late) do
    local worker = read(key('worker', id))
    if not worker then
      redis.call('ZREM', key('workers'), id)
    elseif not is_fresh(worker) then  -- a proxy of an earlier version scores by the last heartbeat
      remove(id, 'worker ' .. worker.slot .. ' stopped answering')
      count.workers = count.workers + 1
    end
  end
  count.sessions = end_expired()
  local overdue = redis.call('ZRANGEBYSCORE', key('deadlines'), '-inf', NOW, 'LIMIT', 0, REAPED_AT_ONCE)
  for _, id in ipairs(overdue) do
    if not finish(id, 'deadline passed') then redis.call('ZREM', key('deadlines'), id) end
    count.waiting = count.waiting + 1
  end
  count.waiting = count.waiting + forget_proxies()
  forget_appliances()
  return count
end)
