-- Sessions, from claim to release: claim, release, give_back. What holds their slots meanwhile is in leases.lua.
-- Those that clients may reconnect to, by name: find_kept.

-- Returns a session's field in the hash `kept`: each token has names of its own.
local function name_of(session)
  return cjson.encode({session.token, session.kept_as})
end

-- Returns the session that has the name of another one, nil if there is none.
local function namesake(session)
  if session.kept_as == '' then return nil end
  local id = redis.call('HGET', key('kept'), name_of(session))
  return id and id ~= session.id and sessions.read(id) or nil
end

-- Reads a session, its claim and its status; nil if it is unknown. One that cannot be read is forgotten.
function sessions.read(id)
  local found = read(key('session', id))
  if not found then return nil end
  local is_whole, session = pcall(cjson.decode, found.request)
  if not is_whole or not found.status then
    redis.call('DEL', key('session', id))
    return nil
  end
  for field, value in pairs(found) do session[field] = value end
  session.avoid, session.kept_as = session.avoid or '', session.kept_as or ''
  session.pool = session.pool or session.minor
  return session
end

-- Writes the status of a session; `request` is its claim as it came.
function sessions.save(session, status, worker)
  local name = key('session', session.id)
  session.status, session.worker = status, worker
  redis.call('HSET', name, 'request', session.request, 'proxy', session.proxy,
    'status', status, 'worker', worker, 'started', session.started, 'granted', session.granted or '',
    'arrival', session.arrival, 'deadline', session.deadline)
  if session.kept_as ~= '' then
    redis.call('HSET', name, 'kept_as', session.kept_as, 'token', session.token)
    redis.call('HSET', key('kept'), name_of(session), session.id)
  end
  if session.pool and session.pool ~= session.minor then redis.call('HSET', name, 'pool', session.pool) end
  if session.queued and status == 'waiting' then redis.call('HSET', name, 'queued', session.queued) end
end

-- Grants a session a slot of a worker.
function sessions.grant(session, worker)
  redis.call('SADD', key('worker', worker.id, 'sessions'), session.id)
  redis.call('ZADD', key('leases'), whole(NOW + session.lease_ms), session.id)
  session.granted = whole(NOW)
  sessions.save(session, 'active', worker.id)
  record('session.started', 'session', session.id, 'worker', worker.id)
  recycling.count_start(worker)
end

-- Restores the name of a session if Redis has lost it, unless another session has it now.
function sessions.restore_name(session)
  redis.call('HSETNX', key('kept'), name_of(session), session.id)
end

-- Frees the name of a session that ends.
local function forget_name(session)
  local name = name_of(session)
  if redis.call('HGET', key('kept'), name) == session.id then redis.call('HDEL', key('kept'), name) end
end

-- What is read of a session that ends; a field costs half a microsecond, so what most do not have is read only of others.
local ENDING = {'status', 'worker', 'kept_as', 'queued', 'request', 'started', 'granted'}

-- Ends a session, active or waiting, and frees what it held. Its proxy says what it moved, in `traffic`. If another
-- ends it, that is nil: then its end is presumed, and what it moved is what was last reported. "" as `ended_by` means
-- that it has not ended, and is about to claim again.
function sessions.finish(id, reason, ended_by, traffic)
  local name = key('session', id)
  local session = read_fields(name, ENDING)
  if not session then return false end
  local worker_id = session.worker
  if session.kept_as or not traffic then
    local reported, visit, token = unpack(redis.call('HMGET', name, 'traffic', 'visit', 'token'))
    session.traffic, session.visit = reported, visit
    if session.kept_as then forget_name({id = id, kept_as = session.kept_as, token = token}) end
  else
    session.traffic = traffic
  end
  if session.status == 'waiting' then
    local waiting = sessions.read(id)
    if waiting then queue.dequeue(waiting) end
    redis.call('ZREM', key('deadlines'), id)
  end
  redis.call('DEL', name)
  local worker = session.status ~= 'waiting' and workers.find(worker_id)
  if worker and worker.status == 'draining' then session.left = redis.call('HGET', key('worker', worker_id), 'reason') end
  if ended_by ~= '' then history.write(session, id, reason, ended_by, not traffic) end
  if session.status == 'waiting' then return true end
  redis.call('ZREM', key('leases'), id)
  redis.call('SREM', key('worker', worker_id, 'sessions'), id)
  record('session.ended', 'session', id, 'worker', worker_id, 'reason', reason, 'bytes', history.bytes(session))
  touch(worker)
  return true
end

-- Returns the versions that are offered with a suffix (pools.lua), the newest first.
local function versions(browser, suffix)
  local found = {}
  for _, minor in ipairs(pools.minors(browser)) do
    if pools.suffix(minor) == suffix then found[#found + 1] = minor end
  end
  return found
end

-- Returns the minors of the pools that suit a session: its own, or all that are offered if it names no version.
local function suitable(session)
  return session.minor ~= '' and {session.pool} or versions(session.browser, session.pool)
end

-- Grants a session a free slot, for which no other session waits (rule 4 of keys.lua). Returns its worker, or nil.
local function admit(session)
  local avoid = pools.avoided(session.avoid)
  for _, minor in ipairs(suitable(session)) do
    local worker = pools.pick(session.browser, minor, avoid)
    if worker then
      sessions.grant(session, worker)
      return worker
    end
  end
end

local function is_served(session)
  local minor = suitable(session)[1]
  return minor and pools.is_offered(session.browser, minor)
end

-- Returns whether an appliance that a session does not avoid serves it, or is about to.
local function is_reachable(session)
  local avoid = pools.avoided(session.avoid)
  if not avoid then return true end
  for _, minor in ipairs(suitable(session)) do
    for _, appliance in ipairs(redis.call('HKEYS', key('teams', session.browser, minor))) do
      if not avoid[appliance .. '/'] then return true end
    end
  end
  return false
end

local function unserved(session)
  return {status = 'unserved', versions = versions(session.browser, ''), failure = wishes.failure(session)}
end

-- Returns a claim's answer; `worker` is given where it is known. A waiting session is "unserved" if no appliance offers
-- its browser any more, and "unreachable" if only appliances do that it avoids. Its proxy then releases it.
local function answer(session, worker)
  if session.status ~= 'active' then
    if not is_served(session) then
      if wishes.make(session) then return {status = 'waiting', progress = wishes.progress(session)} end
      return unserved(session)
    end
    return {status = is_reachable(session) and 'waiting' or 'unreachable'}
  end
  worker = worker or read_fields(key('worker', session.worker), {'name', 'appliance'})
  if not worker then return {status = 'lost'} end
  return {
    status = 'active', worker = session.worker, worker_name = worker.name, appliance = worker.appliance,
    waited_ms = tonumber(session.granted) - tonumber(session.started),
  }
end

-- Returns where an earlier claim stands. A waiting session that is not in its queue is put back: it rested, its queue
-- was lost, it avoids others now, or the pool beside its own has come or gone.
local function ask_again(session, avoid)
  if session.status ~= 'waiting' then return answer(session) end
  local pool = pools.of(session)
  if session.avoid == avoid and session.pool == pool and queue.has(session) then return answer(session) end
  queue.dequeue(session)
  session.avoid, session.pool = avoid, pool
  redis.call('HSET', key('session', session.id), 'avoid', avoid, 'pool', pool)
  queue.enqueue(session)
  for _, minor in ipairs(suitable(session)) do touch_queue(session.browser, minor) end
  return function()
    session = sessions.read(session.id)
    return session and answer(session) or {status = 'lost'}  -- its deadline has passed
  end
end

-- claim {id, browser, minor, isolation, name, client, user_agent, token, kept_as, proxy, lease_ms, wait_ms, waited_ms,
--        queue_max, avoid, may_wish, is_again}
-- -> {status = 'active', worker, worker_name, appliance, waited_ms} | {status = 'waiting'} | {status = 'lost'}
--  | {status = 'unserved', versions, failure} | {status = 'unreachable'} | {status = 'full'} | {status = 'taken'}
-- Called again, it returns where the claim stands; `is_again` says that it was called, so that the session may have been
-- taken for ended since. `avoid` lists workers, and appliances with a slash behind the name,
-- that the session must not get; "unreachable" means that only those serve what it asks for. "taken" is the name
-- `kept_as`, by another session of this token. With `may_wish`, a session waits for a version that nobody serves if an
-- appliance can get its driver (wishes.lua): `progress` says how far that is, and `failure` why it failed.
register('claim', function(a, request)
  local session, known = a, sessions.read(a.id)
  session.avoid, session.kept_as = a.avoid or '', a.kept_as or ''
  if known then return ask_again(known, session.avoid) end
  if namesake(session) then return {status = 'taken'} end
  session.request, session.started, session.deadline = request, whole(NOW - (a.waited_ms or 0)), whole(NOW + a.wait_ms)
  session.arrival, session.pool = queue.number_arrival(a.browser), pools.of(session)
  local worker = admit(session)
  if worker then
    if a.is_again then history.revoke(session.id) end
    return answer(session, worker)
  end
  local is_wished = not is_served(a) and wishes.make(a)
  local has_a_server, can_reach_it = is_wished or is_served(a), is_wished or is_reachable(a)
  if has_a_server and can_reach_it and queue.length(a.browser) < a.queue_max then
    history.revoke(session.id)
    session.queued = queue.describe(session, suitable(session), is_wished)
    queue.enqueue(session)
    return {status = 'waiting', progress = is_wished and wishes.progress(session) or nil}
  end
  redis.call('DECR', key('arrivals', a.browser))
  if not has_a_server then return unserved(a) end
  return {status = can_reach_it and 'full' or 'unreachable'}
end)

-- find_kept {token, kept_as}
-- -> {status = 'active', session, worker, worker_name, appliance, browser, minor, protocol, timeout_s}
--  | {status = 'waiting'} | {status = 'none'}
-- Returns the session that a client may reconnect to by its name: "waiting" if it has no slot yet.
register('find_kept', function(a)
  local session = namesake({id = '', token = a.token, kept_as = a.kept_as})
  if not session then return {status = 'none'} end
  if session.status ~= 'active' then return {status = 'waiting'} end
  local worker = read_fields(key('worker', session.worker), {'name', 'appliance'})
  if not worker then return {status = 'none'} end
  return {
    status = 'active', session = session.id, worker = session.worker, worker_name = worker.name,
    appliance = worker.appliance, browser = session.browser, minor = session.minor, protocol = session.protocol,
    timeout_s = session.timeout_s or 0,
  }
end)

-- begin_visit {id, proxy} -> {}
-- Notes that a client of another proxy has come to a session: that `proxy` is told, too, when the session's worker ends.
register('begin_visit', function(a)
  local name = key('session', a.id)
  local own = redis.call('HGET', name, 'proxy')
  if own and own ~= a.proxy then redis.call('HSET', name, 'visited_by', a.proxy) end
  return {}
end)

-- release {id, worker, reason, ended_by, traffic} -> {released}
-- `worker` is the session's, or "". Its slot comes free even if Redis has lost the session.
register('release', function(a)
  local released = sessions.finish(a.id, a.reason, a.ended_by, a.traffic)
  if not released and a.ended_by ~= '' then
    local traffic = a.traffic ~= '' and a.traffic or nil  -- that of visits is noted by themselves
    history.amend(a.id, function() return {reason = a.reason, ended_by = a.ended_by, traffic = traffic} end)
  end
  if not released and a.worker and redis.call('SREM', key('worker', a.worker, 'sessions'), a.id) == 1 then
    redis.call('ZREM', key('leases'), a.id)
    touch(workers.find(a.worker))
  end
  return {released = released}
end)

-- Notes in a session's record which worker it gives back.
local function note_worker(session, blame)
  local queued = cjson.decode(session.queued or '{}')
  queued.gave_back = queued.gave_back or {}
  table.insert(queued.gave_back, {session.worker, blame})
  session.queued = cjson.encode(queued)
end

-- Undoes a grant, for a session that its worker did not get.
local function undo_grant(session, worker)
  redis.call('SREM', key('worker', session.worker, 'sessions'), session.id)
  redis.call('ZREM', key('leases'), session.id)
  if worker then recycling.uncount_start(worker) end
end

-- give_back {id, worker, blame} -> {}
-- Returns the slot of a worker that the proxy could not reach; `blame` is "worker", "path" or "self". A worker to blame
-- is told, and is not claimable until a heartbeat says that it is healthy. The session waits without a place in its
-- queue until its proxy claims again; then it gets the place of its arrival.
--
-- The dial costs the worker no lifetime. If this was its last session it drains all the same: it was told so, and may
-- be about to end.
register('give_back', function(a)
  local session, worker = sessions.read(a.id), workers.find(a.worker)
  local is_its_own = session and session.status == 'active' and session.worker == a.worker
  if is_its_own then
    undo_grant(session, worker)
    record('session.given_back', 'session', a.id, 'worker', a.worker, 'blame', a.blame)
    note_worker(session, a.blame)
    queue.rest(session)
  end
  if worker and a.blame == 'worker' and (is_its_own or not session) then
    worker.suspect = session and session.proxy or '?'
    redis.call('HSET', key('worker', a.worker), 'suspect', worker.suspect)
    tell('worker', a.worker, {suspect = true})
  end
  touch(worker)
  return {}
end)
