-- Leases: a proxy renews those of its sessions, is told which to end, and asserts sessions that Redis has lost.

local KILLS_KEPT_S = '3600'

-- kill_session {id, reason} -> {known}
-- Asks a session's proxy to end it, active or waiting; it is over when the proxy releases it. Until then the order is
-- kept, in case its message is lost.
register('kill_session', function(a)
  local proxy = redis.call('HGET', key('session', a.id), 'proxy')
  if not proxy then return {known = false} end
  local kills = key('kills', proxy)
  redis.call('HSET', kills, a.id, a.reason)
  redis.call('EXPIRE', kills, KILLS_KEPT_S)
  tell('proxy', proxy, {kill = a.id, reason = a.reason})
  return {known = true}
end)

-- Returns the sessions that a proxy must end, with the reason for each. Orders for ended sessions are forgotten, but
-- not those for `unknown` ones, which the proxy relays although Redis does not know them.
local function kills_of(proxy, unknown)
  local kills, relayed = read(key('kills', proxy)) or {}, {}
  for _, id in ipairs(unknown) do relayed[id] = true end
  for id in pairs(kills) do
    if not relayed[id] and redis.call('EXISTS', key('session', id)) == 0 then
      redis.call('HDEL', key('kills', proxy), id)
      kills[id] = nil
    end
  end
  return kills
end

-- Returns whether a worker is known. One that is missing in `workers` only is added there.
local function is_known(worker)
  if redis.call('ZSCORE', key('workers'), worker) then return true end
  local fresh_until = redis.call('HGET', key('worker', worker), 'fresh_until')
  if fresh_until then redis.call('ZADD', key('workers'), whole(fresh_until), worker) end
  return fresh_until and true or false
end

-- keep_session {id, is_kept} -> {}
-- Notes whether a session is kept: it has no client, and waits for the next one.
register('keep_session', function(a)
  local name = key('session', a.id)
  local status, kept = unpack(redis.call('HMGET', name, 'status', 'kept'))
  if not status or (kept and true or false) == a.is_kept then return {} end
  if a.is_kept then redis.call('HSET', name, 'kept', whole(NOW)) else redis.call('HDEL', name, 'kept') end
  record(a.is_kept and 'session.kept' or 'session.resumed', 'session', a.id)
  return {}
end)

-- renew {proxy, sessions = {id -> worker}, traffic = {id -> traffic}, lease_ms} -> {unknown, kills}
-- Renews a proxy, and the leases of the sessions that it relays, each on its worker. A lost lease, slot or name is
-- restored. `traffic` says what those sessions have moved that have moved something since the last renewal.
-- Returns the sessions that Redis does not know on that worker, and those the proxy must end, with the reasons.
register('renew', function(a)
  redis.call('ZADD', key('proxies'), NOW + a.lease_ms, a.proxy)
  local unknown, expiry, known = {}, whole(NOW + a.lease_ms), {}
  for id, worker in pairs(a.sessions) do
    local name = key('session', id)
    local status, at, kept_as, token = unpack(redis.call('HMGET', name, 'status', 'worker', 'kept_as', 'token'))
    if known[worker] == nil then known[worker] = is_known(worker) end
    if status ~= 'active' or at ~= worker or not known[worker] then
      unknown[#unknown + 1] = id
    else
      redis.call('ZADD', key('leases'), expiry, id)
      local moved = a.traffic and a.traffic[id]
      if moved then redis.call('HSET', name, 'traffic', moved) end
      if kept_as then sessions.restore_name({id = id, kept_as = kept_as, token = token}) end
      if redis.call('SADD', key('worker', worker, 'sessions'), id) == 1 then touch(workers.find(worker)) end
    end
  end
  return {unknown = unknown, kills = kills_of(a.proxy, unknown)}
end)

-- Forgets what older data in Redis says of a session that its proxy relays elsewhere.
local function forget_stale(session)
  if session.status == 'waiting' then return queue.dequeue(session) end
  redis.call('SREM', key('worker', session.worker, 'sessions'), session.id)
  touch(workers.find(session.worker))
end

-- assert_session {id, worker, browser, minor, name, client, user_agent, token, kept_as, proxy, lease_ms}
-- -> {status = 'active', over} | {status = 'pending'}
-- Restores a session that a proxy relays and that Redis has lost; "pending" if its worker is not registered yet. A
-- running session is never ended because its slot was granted to another meanwhile. Its worker then has too many:
-- `over` says by how many its sessions exceed its slots, and it gets no new ones until they fit again.
register('assert_session', function(a, request)
  local known, worker = sessions.read(a.id), workers.find(a.worker)
  if not worker then return {status = 'pending'} end
  if known and (known.status ~= 'active' or known.worker ~= a.worker) then
    forget_stale(known)
    known = nil
  end
  redis.call('SADD', key('worker', a.worker, 'sessions'), a.id)
  redis.call('ZADD', key('leases'), NOW + a.lease_ms, a.id)
  if not known then
    history.revoke(a.id)
    a.request, a.started, a.granted, a.arrival, a.deadline, a.kept_as = request, NOW, NOW, 0, NOW, a.kept_as or ''
    sessions.save(a, 'active', a.worker)
    if tonumber(worker.unclaimed or 0) > 0 then
      worker.unclaimed = redis.call('HINCRBY', key('worker', a.worker), 'unclaimed', -1)
    end
  end
  touch(worker)
  local over = math.max(0, workers.active(a.worker) - tonumber(worker.concurrency))
  if over > 0 then record('worker.over_admitted', 'worker', a.worker, 'session', a.id, 'over', over) end
  return {status = 'active', over = over}
end)
