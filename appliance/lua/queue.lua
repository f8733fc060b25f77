-- Granting and waiting: how a session comes by its slot.

-- Sessions that avoid workers or appliances (`avoid`, a sorted list with spaces between) wait in queues of their own,
-- one for all that avoid the same. If the first of such a queue finds no worker, none behind it does: so a look at
-- the first of each queue is enough, and who cannot be served holds up nobody.

-- Reads a session: its claim, and what became of it; nil if it is unknown. One that cannot be read is forgotten.
local function read_session(id)
  local state = read(key('session', id))
  if not state then return nil end
  local is_whole, session = pcall(cjson.decode, state.request)
  if not is_whole or not state.state then
    redis.call('DEL', key('session', id))
    return nil
  end
  for field, value in pairs(state) do session[field] = value end
  session.avoid = session.avoid or ''
  return session
end

-- Returns a list of what is to be avoided as a set, or nil if it is empty.
local function avoided(list)
  if not list or list == '' then return nil end
  local set = {}
  for name in list:gmatch('%S+') do set[name] = true end
  return set
end

-- Writes what became of a session; `request` is its claim as it came.
local function save(session, state, worker)
  local name = key('session', session.id)
  session.state, session.worker = state, worker
  redis.call('HSET', name, 'request', session.request, 'proxy', session.proxy,
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
  if remaining == 0 then return recycle(read(key('worker', worker.id)), 'quota reached') end
  touch(worker)
  if remaining <= worker.quota * EARLY then touch_ends(worker.browser, worker.minor) end
end

local function queue_of(browser, minor, avoid)
  return avoid == '' and key('queue', browser, minor) or key('queue', browser, minor, avoid)
end

-- Tells whether the queue of a session is looked at when a slot comes free.
local function is_looked_at(session)
  local entry = session.minor .. ' ' .. session.avoid
  return session.avoid == '' or redis.call('SISMEMBER', key('avoiding', session.browser), entry) == 1
end

-- Lets a session wait without a place in its queue: until its proxy asks again, or its deadline.
local function rest(session)
  save(session, 'waiting', '')
  redis.call('ZADD', key('proxies'), 'GT', NOW + session.lease_ms, session.proxy)
  redis.call('ZADD', key('deadlines'), session.deadline, session.id)
end

-- Puts a session into its queue, in the place of its arrival.
local function enqueue(session)
  rest(session)
  if session.avoid ~= '' then
    redis.call('SADD', key('avoiding', session.browser), session.minor .. ' ' .. session.avoid)
  end
  redis.call('ZADD', queue_of(session.browser, session.minor, session.avoid), session.arrival, session.id)
end

local function dequeue(session)
  redis.call('ZREM', queue_of(session.browser, session.minor, session.avoid), session.id)
  redis.call('ZREM', key('deadlines'), session.id)
end

-- Returns the first of a queue whose proxy lives and whose deadline has not passed, or nil; the dead
-- before it are forgotten.
local function first_waiting(browser, minor, avoid)
  local queue = queue_of(browser, minor, avoid)
  while true do
    local id = redis.call('ZRANGE', queue, 0, 0)[1]
    if not id then return nil end
    local session = read_session(id)
    if session and session.state == 'waiting' then
      local alive_until = tonumber(redis.call('ZSCORE', key('proxies'), session.proxy) or 0)
      if alive_until >= NOW and tonumber(session.deadline) >= NOW then return session end
      redis.call('DEL', key('session', id))
    end
    redis.call('ZREM', queue, id)
    redis.call('ZREM', key('deadlines'), id)
  end
end

-- Returns the first of each queue that a pool suits, the longest-waiting first: those that asked for this version,
-- and those that asked for any.
local function first_of_each_queue(browser, minor)
  if redis.call('ZCARD', key('deadlines')) == 0 then return {} end
  local found = {first_waiting(browser, minor, '')}
  found[#found + 1] = first_waiting(browser, '', '')
  for _, entry in ipairs(redis.call('SMEMBERS', key('avoiding', browser))) do
    local version, avoid = entry:match('^(%S*) (.*)$')
    if version == minor or version == '' then
      local session = first_waiting(browser, version, avoid)
      if not session then redis.call('SREM', key('avoiding', browser), entry) end
      found[#found + 1] = session
    end
  end
  table.sort(found, function(a, b) return tonumber(a.arrival) < tonumber(b.arrival) end)
  return found
end

-- Returns the longest-waiting session for which a worker of a pool is claimable, and that worker, or nil.
local function next_served(browser, minor)
  for _, session in ipairs(first_of_each_queue(browser, minor)) do
    local worker = pick(browser, minor, avoided(session.avoid))
    if worker then return session, worker end
    if session.avoid == '' then return nil end
  end
end

-- Hands the next free slot of a pool to whoever has waited longest for it. Returns whether there was one for somebody.
function serve_next(browser, minor)
  local session, worker = next_served(browser, minor)
  if not worker then return false end
  dequeue(session)
  grant(session, worker)
  tell('proxy', session.proxy, {granted = session.id})
  return true
end

-- Gives a session a free slot at once, and gives its worker, or nil: nobody else waits for a free slot
-- (rule 4).
local function admit(session, minors)
  local avoid = avoided(session.avoid)
  for _, minor in ipairs(minors) do
    local worker = pick(session.browser, minor, avoid)
    if worker then
      grant(session, worker)
      return worker
    end
  end
end

