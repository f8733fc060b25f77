-- Granting and waiting: how a session comes by its slot.

-- Reads a session: its claim, and what became of it; nil if it is unknown.
local function read_session(id)
  local state = read(key('session', id))
  if not state then return nil end
  local session = cjson.decode(state.request)
  for field, value in pairs(state) do session[field] = value end
  return session
end

-- Writes what became of a session; `request` is its claim as it came.
local function save(session, state, worker)
  session.state, session.worker = state, worker
  redis.call('HSET', key('session', session.id), 'request', session.request, 'proxy', session.proxy,
    'state', state, 'worker', worker, 'started', session.started, 'granted', session.granted or '',
    'arrival', session.arrival, 'deadline', session.deadline)
end

-- Gives a session the next slot of a worker; its last one turns the worker to draining.
local function grant(session, worker)
  redis.call('SADD', key('worker', worker.id, 'sessions'), session.id)
  redis.call('ZADD', key('leases'), whole(NOW + session.lease_ms), session.id)
  session.granted = whole(NOW)
  save(session, 'active', worker.id)
  redis.call('HINCRBY', key('policy', worker.browser, worker.minor), 'starts', '1')
  record('session.started', 'session', session.id, 'worker', worker.id)
  worker.lifetime = redis.call('HINCRBY', key('worker', worker.id), 'lifetime', '1')
  local remaining = remaining_of(worker)
  if remaining == 0 then
    recycle(worker.id, 'quota reached')
  else
    place(worker)
    if remaining <= worker.quota * EARLY then keep_ends_apart(worker.browser, worker.minor) end
  end
end

local function enqueue(session)
  save(session, 'waiting', '')
  redis.call('ZADD', key('proxies'), 'GT', NOW + session.lease_ms, session.proxy)
  redis.call('ZADD', key('queue', session.browser, session.minor), session.arrival, session.id)
  redis.call('ZADD', key('deadlines'), session.deadline, session.id)
end

local function dequeue(session)
  redis.call('ZREM', key('queue', session.browser, session.minor), session.id)
  redis.call('ZREM', key('deadlines'), session.id)
end

-- Gives the first of a queue whose proxy lives and whose deadline has not passed, or nil; the dead
-- before it are forgotten.
local function first_waiting(browser, minor)
  local queue = key('queue', browser, minor)
  while true do
    local id = redis.call('ZRANGE', queue, 0, 0)[1]
    if not id then return nil end
    local session = read_session(id)
    if session then
      local alive_until = tonumber(redis.call('ZSCORE', key('proxies'), session.proxy) or 0)
      if alive_until >= NOW and tonumber(session.deadline) >= NOW then return session end
      redis.call('DEL', key('session', id))
    end
    redis.call('ZREM', queue, id)
    redis.call('ZREM', key('deadlines'), id)
  end
end

-- Gives the longest-waiting session that a pool suits: one that asked for this version, or for any.
local function next_waiting(browser, minor)
  if redis.call('ZCARD', key('deadlines')) == 0 then return nil end
  local same, any = first_waiting(browser, minor), first_waiting(browser, '')
  if same and any then
    return tonumber(same.arrival) < tonumber(any.arrival) and same or any
  end
  return same or any
end

-- Hands the free slots of a pool to those who wait for them, in order of arrival.
local function dispatch(browser, minor)
  while true do
    local session = next_waiting(browser, minor)
    local worker = session and pick(browser, minor)
    if not worker then return end
    dequeue(session)
    grant(session, worker)
    tell('proxy', session.proxy, {granted = session.id})
  end
end

-- Gives a session a free slot at once, and gives its worker, or nil: nobody else waits for a free slot
-- (rule 4).
local function admit(session, minors)
  for _, minor in ipairs(minors) do
    local worker = pick(session.browser, minor)
    if worker then
      grant(session, worker)
      return worker
    end
  end
end

local function waiting_in(browser, minor)
  return redis.call('ZCARD', key('queue', browser, minor))
end
