-- The sessions' functions: claim, give back, release, kill, renew, assert.

-- The versions that suit a session: its own, or all that are offered if it names none.
local function suitable(session)
  return session.minor ~= '' and {session.minor} or minors_of(session.browser)
end

local function is_served(session)
  local minor = suitable(session)[1]
  return minor and is_offered(session.browser, minor)
end

-- Tells whether an appliance that a session does not avoid serves it, or is about to.
local function is_reachable(session)
  local avoid = avoided(session.avoid)
  if not avoid then return true end
  for _, minor in ipairs(suitable(session)) do
    for _, appliance in ipairs(redis.call('HKEYS', key('teams', session.browser, minor))) do
      if not avoid[appliance .. '/'] then return true end
    end
  end
  return false
end

-- What a proxy needs to know of its session; `worker` saves reading it where it is known. One that waits for what
-- nobody offers any more, or for what it avoids, is told so: its proxy releases it.
local function answer(session, worker)
  if session.state ~= 'active' then
    if not is_served(session) then return {state = 'unserved', versions = minors_of(session.browser)} end
    return {state = is_reachable(session) and 'waiting' or 'unreachable'}
  end
  worker = worker or read_fields(key('worker', session.worker), CHOSEN)
  if not worker then return {state = 'lost'} end
  return {
    state = 'active', worker = session.worker, slot = worker.slot, appliance = worker.appliance,
    waited_ms = tonumber(session.granted) - tonumber(session.started),
  }
end

-- Returns the queues of a browser's sessions, for the versions that are offered.
local function queues_of(browser)
  local versions, queues = {[''] = true}, {key('queue', browser, '')}
  for _, minor in ipairs(minors_of(browser)) do
    versions[minor], queues[#queues + 1] = true, key('queue', browser, minor)
  end
  for _, entry in ipairs(redis.call('SMEMBERS', key('avoiding', browser))) do
    local version, avoid = entry:match('^(%S*) (.*)$')
    if versions[version] then queues[#queues + 1] = queue_of(browser, version, avoid) end
  end
  return queues
end

local function queue_length(browser)
  local length = 0
  for _, queue in ipairs(queues_of(browser)) do length = length + redis.call('ZCARD', queue) end
  return length
end

-- Returns the next number of arrival; if the count is lost, one that is behind all who wait.
local function number_arrival(browser)
  local number = redis.call('INCR', key('arrivals', browser))
  if number > 1 then return number end
  for _, queue in ipairs(queues_of(browser)) do
    local last = redis.call('ZRANGE', queue, 0, 0, 'REV', 'WITHSCORES')[2]
    number = math.max(number, (tonumber(last) or 0) + 1)
  end
  if number > 1 then redis.call('SET', key('arrivals', browser), whole(number)) end
  return number
end

-- Returns where an earlier claim stands. One that waits is put back into its queue if it is not there: it rested,
-- its queue was lost, or it avoids others now.
local function ask_again(session, avoid)
  if session.state == 'waiting' then
    local queue = queue_of(session.browser, session.minor, session.avoid)
    local is_in_place = session.avoid == avoid and redis.call('ZSCORE', queue, session.id) and is_looked_at(session)
    if not (is_in_place and redis.call('ZSCORE', key('deadlines'), session.id)) then
      dequeue(session)
      session.avoid = avoid
      redis.call('HSET', key('session', session.id), 'avoid', avoid)
      enqueue(session)
      for _, minor in ipairs(suitable(session)) do touch_queue(session.browser, minor) end
      return function()
        local served = read_session(session.id)
        return served and answer(served) or {state = 'lost'}  -- its deadline has passed
      end
    end
  end
  return answer(session)
end

-- claim {id, browser, minor, name, client, user_agent, token, proxy, lease_ms, wait_ms, queue_max, avoid}
-- -> {state = 'active', worker, slot, appliance, waited_ms} | {state = 'waiting'} | {state = 'lost'}
--  | {state = 'unserved', versions} | {state = 'unreachable'} | {state = 'full'}
-- Called again, it tells where the claim stands. `avoid` lists the workers, and the appliances (with a slash behind the
-- name), that are out of the question: "unreachable" says that nobody else serves what is asked for.
register('claim', function(a, request)
  local session, known = a, read_session(a.id)
  session.avoid = a.avoid or ''
  if known then return ask_again(known, session.avoid) end
  session.request, session.started, session.deadline = request, whole(NOW), whole(NOW + a.wait_ms)
  session.arrival = number_arrival(a.browser)
  local worker = admit(session, suitable(a))
  if worker then return answer(session, worker) end
  local has_a_server, can_reach_it = is_served(a), is_reachable(a)
  if has_a_server and can_reach_it and queue_length(a.browser) < a.queue_max then
    enqueue(session)
    return {state = 'waiting'}
  end
  redis.call('DECR', key('arrivals', a.browser))
  if not has_a_server then return {state = 'unserved', versions = minors_of(a.browser)} end
  return {state = can_reach_it and 'full' or 'unreachable'}
end)

-- Ends a session, wherever it is, and frees what it held. `details` go into the event.
local function finish(id, reason, ...)
  local state, worker_id = unpack(redis.call('HMGET', key('session', id), 'state', 'worker'))
  if not state then return false end
  if state == 'waiting' then
    local session = read_session(id)
    if session then dequeue(session) end
    redis.call('ZREM', key('deadlines'), id)
  end
  redis.call('DEL', key('session', id))
  if state == 'waiting' then return true end
  redis.call('ZREM', key('leases'), id)
  redis.call('SREM', key('worker', worker_id, 'sessions'), id)
  record('session.ended', 'session', id, 'worker', worker_id, 'reason', reason, ...)
  touch(read_worker(worker_id))
  return true
end

-- release {id, worker, reason, bytes} -> {released}
-- `worker` is the one whose slot the session had, or "": it comes free even if Redis has lost the session.
register('release', function(a)
  local released = finish(a.id, a.reason, 'bytes', a.bytes)
  if not released and a.worker and redis.call('SREM', key('worker', a.worker, 'sessions'), a.id) == 1 then
    redis.call('ZREM', key('leases'), a.id)
    touch(read_worker(a.worker))
  end
  return {released = released}
end)

-- Takes the slot and the start of a session back from a worker that did not get it.
local function undo_grant(session, worker)
  redis.call('SREM', key('worker', session.worker, 'sessions'), session.id)
  redis.call('ZREM', key('leases'), session.id)
  if not worker then return end
  if tonumber(worker.lifetime) > 0 then
    worker.lifetime = redis.call('HINCRBY', key('worker', session.worker), 'lifetime', -1)
  end
  redis.call('HINCRBY', key('policy', worker.browser, worker.minor), 'starts', -1)
end

-- give_back {id, worker, blame} -> {}
-- A session's proxy could not reach its worker, and gives the slot back; `blame` is "worker", "path" or "self". A worker
-- to blame is told, and not claimable until a heartbeat says that it is healthy. The session waits without a place in
-- its queue until its proxy claims again; then it has the place of its arrival.
--
-- The dial costs the worker nothing of its lifetime. If this was its last session it drains all the same: it has been
-- told so, and may be on its way out.
register('give_back', function(a)
  local session, worker = read_session(a.id), read_worker(a.worker)
  local is_its_own = session and session.state == 'active' and session.worker == a.worker
  if is_its_own then
    undo_grant(session, worker)
    record('session.given_back', 'session', a.id, 'worker', a.worker, 'blame', a.blame)
    rest(session)
  end
  if worker and a.blame == 'worker' and (is_its_own or not session) then
    worker.suspect = session and session.proxy or '?'
    redis.call('HSET', key('worker', a.worker), 'suspect', worker.suspect)
    tell('worker', a.worker, {suspect = true})
  end
  touch(worker)
  return {}
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

-- Tells whether a worker is known. One that only the reaper has lost is made known to it.
local function is_known(worker)
  if redis.call('ZSCORE', key('workers'), worker) then return true end
  local fresh_until = redis.call('HGET', key('worker', worker), 'fresh_until')
  if fresh_until then redis.call('ZADD', key('workers'), whole(fresh_until), worker) end
  return fresh_until and true or false
end

-- renew {proxy, sessions = {id -> worker}, lease_ms} -> {unknown, kills}
-- Says that a proxy lives and still relays these sessions, each on its worker. Returns those of which Redis does not
-- know that, and those that the proxy must end, with the reason for each. A lease or a slot that was lost is restored.
register('renew', function(a)
  redis.call('ZADD', key('proxies'), NOW + a.lease_ms, a.proxy)
  local unknown, expiry, known = {}, whole(NOW + a.lease_ms), {}
  for id, worker in pairs(a.sessions) do
    local name = key('session', id)
    local state, at = unpack(redis.call('HMGET', name, 'state', 'worker'))
    if known[worker] == nil then known[worker] = is_known(worker) end
    if state ~= 'active' or at ~= worker or not known[worker] then
      unknown[#unknown + 1] = id
    else
      redis.call('ZADD', key('leases'), expiry, id)
      if redis.call('SADD', key('worker', worker, 'sessions'), id) == 1 then touch(read_worker(worker)) end
    end
  end
  return {unknown = unknown, kills = kills_of(a.proxy, unknown)}
end)

-- Forgets what Redis, with older data, still believes of a session that its proxy relays elsewhere.
local function forget_stale(session)
  if session.state == 'waiting' then return dequeue(session) end
  redis.call('SREM', key('worker', session.worker, 'sessions'), session.id)
  touch(read_worker(session.worker))
end

-- assert {id, worker, browser, minor, name, client, user_agent, token, proxy, lease_ms}
-- -> {state = 'active', over} | {state = 'pending'}
-- A proxy relays a session that Redis has forgotten. It is taken up again; if its worker is not (yet) registered it stays
-- pending. A session that runs is never ended because its slot was given away meanwhile: its worker has one too many
-- then, and `over` says by how many its sessions exceed its slots. It gets no further ones until they fit again.
register('assert', function(a, request)
  local known, worker = read_session(a.id), read_worker(a.worker)
  if not worker then return {state = 'pending'} end
  if known and (known.state ~= 'active' or known.worker ~= a.worker) then
    forget_stale(known)
    known = nil
  end
  redis.call('SADD', key('worker', a.worker, 'sessions'), a.id)
  redis.call('ZADD', key('leases'), NOW + a.lease_ms, a.id)
  if not known then
    a.request, a.started, a.granted, a.arrival, a.deadline = request, NOW, NOW, 0, NOW
    save(a, 'active', a.worker)
    if tonumber(worker.unclaimed or 0) > 0 then
      worker.unclaimed = redis.call('HINCRBY', key('worker', a.worker), 'unclaimed', -1)
    end
  end
  touch(worker)
  local over = math.max(0, active_of(a.worker) - tonumber(worker.concurrency))
  if over > 0 then record('worker.over_admitted', 'worker', a.worker, 'session', a.id, 'over', over) end
  return {state = 'active', over = over}
end)
