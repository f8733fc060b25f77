-- The sessions' functions: claim, retry, release, kill, renew, assert.

-- The versions that suit a session: its own, or all that are offered if it names none.
local function suitable(session)
  return session.minor ~= '' and {session.minor} or minors_of(session.browser)
end

local function is_served(session)
  local minor = suitable(session)[1]
  return minor and is_offered(session.browser, minor)
end

-- What a proxy needs to know of its session; `worker` saves reading it where it is known. One that waits for what
-- nobody offers any more is told so: its proxy releases it.
local function answer(session, worker)
  if session.state ~= 'active' then
    if is_served(session) then return {state = 'waiting'} end
    return {state = 'unserved', versions = minors_of(session.browser)}
  end
  worker = worker or read_fields(key('worker', session.worker), CHOSEN)
  if not worker then return {state = 'lost'} end
  return {
    state = 'active', worker = session.worker, slot = worker.slot, appliance = worker.appliance,
    waited_ms = tonumber(session.granted) - tonumber(session.started),
  }
end

local function queue_length(browser)
  local length = waiting_in(browser, '')
  for _, minor in ipairs(minors_of(browser)) do length = length + waiting_in(browser, minor) end
  return length
end

-- claim {id, browser, minor, name, client, user_agent, token, proxy, lease_ms, wait_ms, queue_max}
-- -> {state = 'active', worker, slot, appliance, waited_ms} | {state = 'waiting'} | {state = 'lost'}
--  | {state = 'unserved', versions} | {state = 'full'}
-- Called again, it tells where the claim stands.
register('claim', function(a, request)
  local session = a
  if redis.call('EXISTS', key('session', a.id)) == 1 then return answer(read_session(a.id)) end
  session.request, session.started, session.deadline = request, whole(NOW), whole(NOW + a.wait_ms)
  session.arrival = redis.call('INCR', key('arrivals', a.browser))
  local worker = admit(session, suitable(a))
  if worker then return answer(session, worker) end
  local has_a_server = is_served(a)
  if has_a_server and queue_length(a.browser) < a.queue_max then
    enqueue(session)
    return {state = 'waiting'}
  end
  redis.call('DECR', key('arrivals', a.browser))
  if has_a_server then return {state = 'full'} end
  return {state = 'unserved', versions = minors_of(a.browser)}
end)

local function tell_if_drained(worker)
  if worker.status == 'draining' and active_of(worker.id) == 0 then tell('worker', worker.id, {drained = true}) end
end

-- Ends a session, wherever it is, and frees what it held. `details` go into the event.
local function finish(id, reason, ...)
  local state, worker_id = unpack(redis.call('HMGET', key('session', id), 'state', 'worker'))
  if not state then return false end
  if state == 'waiting' then dequeue(read_session(id)) end
  redis.call('DEL', key('session', id))
  if state == 'waiting' then return true end
  redis.call('ZREM', key('leases'), id)
  redis.call('SREM', key('worker', worker_id, 'sessions'), id)
  record('session.ended', 'session', id, 'worker', worker_id, 'reason', reason, ...)
  local worker = read_worker(worker_id)
  if worker then
    tell_if_drained(worker)
    place(worker)
    dispatch(worker.browser, worker.minor)
  end
  return true
end

-- release {id, reason, bytes} -> {released}
register('release', function(a)
  return {released = finish(a.id, a.reason, 'bytes', a.bytes)}
end)

-- suspect {id, worker} -> as claim
-- The worker did not accept the session: it is told, and not claimable until a heartbeat says that it
-- is healthy. The session waits again, in the place of its arrival.
register('suspect', function(a)
  local session, worker = read_session(a.id), read_worker(a.worker)
  local is_its_own = session and session.state == 'active' and session.worker == a.worker
  if is_its_own then
    redis.call('SREM', key('worker', a.worker, 'sessions'), a.id)
    redis.call('ZREM', key('leases'), a.id)
  end
  if worker then
    redis.call('HSET', key('worker', a.worker), 'suspect', 1)
    worker.suspect = 1
    place(worker)
    tell('worker', a.worker, {suspect = true})
  end
  if not session then return {state = 'lost'} end
  if not is_its_own then return answer(session) end
  if worker then tell_if_drained(worker) end
  local other = admit(session, suitable(session))
  if not other then enqueue(session) end
  return answer(session, other)
end)

local KILLS_KEPT_S = '3600'

-- kill_session {id, reason} -> {known}
-- Asks for the end of a session, active or waiting; it is over when its proxy has released it. The order
-- stands until then, in case its message is lost.
register('kill_session', function(a)
  local proxy = redis.call('HGET', key('session', a.id), 'proxy')
  if not proxy then return {known = false} end
  local kills = key('kills', proxy)
  redis.call('HSET', kills, a.id, a.reason)
  redis.call('EXPIRE', kills, KILLS_KEPT_S)
  tell('proxy', proxy, {kill = a.id, reason = a.reason})
  return {known = true}
end)

-- Gives the sessions that a proxy is to end, with the reasons. Those that have ended are forgotten, but not
-- the `unknown` ones, which the proxy relays although nothing is known of them.
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

-- renew {proxy, sessions, lease_ms} -> {unknown, kills}
-- Says that a proxy lives and still relays these sessions; gives those of which nothing is known, and those
-- that it is to end, each with the reason.
register('renew', function(a)
  redis.call('ZADD', key('proxies'), NOW + a.lease_ms, a.proxy)
  local unknown = {}
  for _, id in ipairs(a.sessions) do
    if not redis.call('ZSCORE', key('leases'), id) then
      unknown[#unknown + 1] = id
    else
      redis.call('ZADD', key('leases'), NOW + a.lease_ms, id)
    end
  end
  return {unknown = unknown, kills = kills_of(a.proxy, unknown)}
end)

-- assert {id, worker, browser, minor, name, client, user_agent, token, proxy, lease_ms}
-- -> {state = 'active' | 'pending' | 'lost'}
-- A proxy relays a session that Redis has forgotten. It is taken up again if its worker has room; if
-- the worker is not (yet) registered it stays pending; if the slot has been given away it is lost.
register('assert', function(a, request)
  if redis.call('EXISTS', key('session', a.id)) == 1 then return {state = 'active'} end
  local worker = read_worker(a.worker)
  if not worker then return {state = 'pending'} end
  if active_of(a.worker) >= tonumber(worker.concurrency) then return {state = 'lost'} end
  redis.call('SADD', key('worker', a.worker, 'sessions'), a.id)
  redis.call('ZADD', key('leases'), NOW + a.lease_ms, a.id)
  a.request, a.started, a.granted, a.arrival, a.deadline = request, NOW, NOW, 0, NOW
  save(a, 'active', a.worker)
  if tonumber(worker.unclaimed or 0) > 0 then
    worker.unclaimed = redis.call('HINCRBY', key('worker', a.worker), 'unclaimed', -1)
  end
  place(worker)
  dispatch(worker.browser, worker.minor)
  return {state = 'active'}
end)
