-- The sessions' functions: claim, retry, release, renew, assert.

-- What a proxy needs to know of its session; `worker` saves reading it where it is known.
local function answer(session, worker)
  if session.state ~= 'active' then return {state = 'waiting'} end
  worker = worker or read_worker(session.worker)
  if not worker then return {state = 'lost'} end
  return {
    state = 'active', worker = worker.id, slot = worker.slot, endpoint = worker.endpoint,
    waited_ms = tonumber(session.granted) - tonumber(session.started),
  }
end

-- Admits a session and says where it stands then.
local function admitted(session, minors)
  local worker = admit(session, minors)
  if worker then return answer(session, worker) end
  return answer(read(key('session', session.id)) or session)
end

-- The offered versions that suit a session: its own, or all if it names none.
local function suitable(browser, minor)
  if minor == '' then return minors_of(browser) end
  return is_offered(browser, minor) and {minor} or {}
end

local function queue_length(browser)
  local length = waiting_in(browser, '')
  for _, minor in ipairs(minors_of(browser)) do length = length + waiting_in(browser, minor) end
  return length
end

-- claim {id, browser, minor, name, client, user_agent, proxy, lease_ms, wait_ms, queue_max}
-- -> {state = 'active', worker, slot, endpoint, waited_ms} | {state = 'waiting'} | {state = 'lost'}
--  | {state = 'unserved', versions} | {state = 'full'}
-- Called again, it tells where the claim stands.
register('claim', function(a)
  local known = read(key('session', a.id))
  if known then return answer(known) end
  local minors = suitable(a.browser, a.minor)
  if #minors == 0 then return {state = 'unserved', versions = minors_of(a.browser)} end
  local session = {
    id = a.id, browser = a.browser, minor = a.minor, name = a.name, client = a.client,
    user_agent = a.user_agent, proxy = a.proxy, lease_ms = a.lease_ms,
    started = NOW, deadline = NOW + a.wait_ms, arrival = redis.call('INCR', key('arrivals')),
  }
  local result = admitted(session, minors)
  if result.state == 'waiting' and queue_length(a.browser) > a.queue_max then
    dequeue(session)
    redis.call('DEL', key('session', a.id))
    return {state = 'full'}
  end
  return result
end)

-- Ends a session, wherever it is, and frees what it held. `details` go into the event.
local function finish(id, reason, ...)
  local session = read_fields(key('session', id), {'id', 'state', 'worker', 'browser', 'minor'})
  if not session then return false end
  redis.call('DEL', key('session', id))
  if session.state == 'waiting' then
    dequeue(session)
    return true
  end
  redis.call('ZREM', key('leases'), id)
  redis.call('SREM', key('worker', session.worker, 'sessions'), id)
  record('session.ended', 'session', id, 'worker', session.worker, 'reason', reason, ...)
  local worker = read_worker(session.worker)
  if worker then
    if worker.status == 'draining' and active_of(worker.id) == 0 then
      tell('worker', worker.id, {drained = true})
    end
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
  local session, worker = read(key('session', a.id)), read_worker(a.worker)
  if worker then
    redis.call('HSET', key('worker', a.worker), 'suspect', 1)
    worker.suspect = 1
    place(worker)
    tell('worker', a.worker, {suspect = true})
  end
  if not session then return {state = 'lost'} end
  if session.state == 'active' and session.worker == a.worker then
    redis.call('SREM', key('worker', a.worker, 'sessions'), a.id)
    redis.call('ZREM', key('leases'), a.id)
    if worker and worker.status == 'draining' and active_of(worker.id) == 0 then
      tell('worker', worker.id, {drained = true})
    end
    return admitted(session, suitable(session.browser, session.minor))
  end
  return answer(session)
end)

-- renew {proxy, sessions, lease_ms} -> {unknown}
-- Says that a proxy lives and still relays these sessions; gives those of which nothing is known.
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
  return {unknown = unknown}
end)

-- assert {id, worker, browser, minor, name, client, user_agent, proxy, lease_ms}
-- -> {state = 'active' | 'pending' | 'lost'}
-- A proxy relays a session that Redis has forgotten. It is taken up again if its worker has room; if
-- the worker is not (yet) registered it stays pending; if the slot has been given away it is lost.
register('assert', function(a)
  if read(key('session', a.id)) then return {state = 'active'} end
  local worker = read(key('worker', a.worker))
  if not worker then return {state = 'pending'} end
  if active_of(a.worker) >= tonumber(worker.concurrency) then return {state = 'lost'} end
  a.state, a.started, a.granted, a.arrival, a.deadline = 'active', NOW, NOW, 0, NOW
  write(key('session', a.id), a)
  redis.call('SADD', key('worker', a.worker, 'sessions'), a.id)
  redis.call('ZADD', key('leases'), NOW + a.lease_ms, a.id)
  if tonumber(worker.unclaimed or 0) > 0 then
    worker.unclaimed = redis.call('HINCRBY', key('worker', a.worker), 'unclaimed', -1)
  end
  place(worker)
  dispatch(worker.browser, worker.minor)
  return {state = 'active'}
end)
