-- The queue: sessions that wait for a slot, first come, first served across all proxies.
--
-- Sessions that avoid workers or appliances (`avoid`, a sorted list separated by spaces) wait in queues of their own,
-- one for each such list. If no worker suits the first of a queue, none suits those behind it. So it is enough to look
-- at the first of each queue, and a session that cannot be served holds up no other. For the same reason, those for
-- which there is a pool beside another one (pools.lua) wait in the queue of that pool.

local function queue_of(browser, minor, avoid)
  return avoid == '' and key('queue', browser, minor) or key('queue', browser, minor, avoid)
end

-- Makes a session wait without a place in its queue, until its proxy claims again or its deadline passes.
function queue.rest(session)
  sessions.save(session, 'waiting', '')
  redis.call('ZADD', key('proxies'), 'GT', NOW + session.lease_ms, session.proxy)
  redis.call('ZADD', key('deadlines'), session.deadline, session.id)
end

-- Puts a session into its queue, by its number of arrival.
function queue.enqueue(session)
  queue.rest(session)
  if session.avoid ~= '' then
    redis.call('SADD', key('avoiding', session.browser), session.pool .. ' ' .. session.avoid)
  end
  redis.call('ZADD', queue_of(session.browser, session.pool, session.avoid), session.arrival, session.id)
end

function queue.dequeue(session)
  redis.call('ZREM', queue_of(session.browser, session.pool, session.avoid), session.id)
  redis.call('ZREM', key('deadlines'), session.id)
end

-- Returns whether a waiting session is in its queue, and so will be served when a slot comes free.
function queue.has(session)
  local entry = session.pool .. ' ' .. session.avoid
  return redis.call('ZSCORE', queue_of(session.browser, session.pool, session.avoid), session.id)
    and (session.avoid == '' or redis.call('SISMEMBER', key('avoiding', session.browser), entry) == 1)
    and redis.call('ZSCORE', key('deadlines'), session.id)
end

-- Returns the queues of a browser's sessions, for the versions that are offered or wished for.
function queue.all(browser)
  local versions, queues = {}, {}
  local function add(minor)
    if versions[minor] then return end
    versions[minor], queues[#queues + 1] = true, key('queue', browser, minor)
  end
  add('')
  for _, minor in ipairs(pools.minors(browser)) do
    add(minor)
    add(pools.suffix(minor))  -- for any version
  end
  for _, minor in ipairs(wishes.minors(browser)) do add(minor) end
  for _, entry in ipairs(redis.call('SMEMBERS', key('avoiding', browser))) do
    local version, avoid = entry:match('^(%S*) (.*)$')
    if versions[version] then queues[#queues + 1] = queue_of(browser, version, avoid) end
  end
  return queues
end

function queue.length(browser)
  local length = 0
  for _, name in ipairs(queue.all(browser)) do length = length + redis.call('ZCARD', name) end
  return length
end

-- Returns what a session finds that has to wait, as JSON: how many sessions are `ahead`; of the workers of the versions
-- that suit it, what `pools.count` counts, and how many are `away` (they drain, or are started again); how many
-- appliances are `drained`; how many workers and appliances it has `avoided`; and whether it waits for a pool on demand
-- (`wished`).
function queue.describe(session, minors, is_wished)
  local found = {ahead = queue.length(session.browser), available = 0, suspect = 0, overdue = 0, free = 0, away = 0}
  for _, minor in ipairs(minors) do
    for field, count in pairs(pools.count(session.browser, minor)) do found[field] = found[field] + count end
    found.away = found.away + redis.call('ZCOUNT', key('recycling', session.browser, minor), whole(NOW), '+inf')
  end
  found.drained, found.wished, found.avoided = redis.call('ZCARD', key('drained')), is_wished and 1 or 0, 0
  for _ in session.avoid:gmatch('%S+') do found.avoided = found.avoided + 1 end
  return cjson.encode(found)
end

-- Returns the next number of arrival; if the count is lost, one behind all waiting sessions.
function queue.number_arrival(browser)
  local number = redis.call('INCR', key('arrivals', browser))
  if number > 1 then return number end
  for _, name in ipairs(queue.all(browser)) do
    local last = redis.call('ZRANGE', name, 0, 0, 'REV', 'WITHSCORES')[2]
    number = math.max(number, (tonumber(last) or 0) + 1)
  end
  for _, id in ipairs(redis.call('ZRANGE', key('deadlines'), 0, -1)) do  -- those in no such queue wait, too
    number = math.max(number, (tonumber(redis.call('HGET', key('session', id), 'arrival')) or 0) + 1)
  end
  if number > 1 then redis.call('SET', key('arrivals', browser), whole(number)) end
  return number
end

-- Returns the first of a queue whose proxy lives and whose deadline has not passed, or nil. Those before it are
-- forgotten.
local function first_waiting(browser, minor, avoid)
  local name = queue_of(browser, minor, avoid)
  while true do
    local id = redis.call('ZRANGE', name, 0, 0)[1]
    if not id then return nil end
    local session = sessions.read(id)
    local waits = session and session.status == 'waiting'
    local is_elsewhere = waits and queue_of(browser, session.pool, session.avoid) ~= name
    if waits and not is_elsewhere then
      local alive_until = tonumber(redis.call('ZSCORE', key('proxies'), session.proxy) or 0)
      if alive_until >= NOW and tonumber(session.deadline) >= NOW then return session end
      local is_late = alive_until >= NOW
      sessions.finish(id, is_late and 'deadline passed' or 'its proxy stopped answering', is_late and 'grid' or 'appliance')
    end
    redis.call('ZREM', name, id)
    -- If it waits in another queue, its record was lost while it was in this one, and it has claimed again.
    if not is_elsewhere then redis.call('ZREM', key('deadlines'), id) end
  end
end

-- Returns the first of each queue that a pool suits, for its version or for any, the longest-waiting first.
local function first_of_each(browser, minor)
  if redis.call('ZCARD', key('deadlines')) == 0 then return {} end
  local found, any = {first_waiting(browser, minor, '')}, pools.suffix(minor)
  found[#found + 1] = first_waiting(browser, any, '')
  for _, entry in ipairs(redis.call('SMEMBERS', key('avoiding', browser))) do
    local version, avoid = entry:match('^(%S*) (.*)$')
    if version == minor or version == any then
      local session = first_waiting(browser, version, avoid)
      if not session then redis.call('SREM', key('avoiding', browser), entry) end
      found[#found + 1] = session
    end
  end
  table.sort(found, function(a, b) return tonumber(a.arrival) < tonumber(b.arrival) end)
  return found
end

-- Hands the next free slot of a pool to the session that has waited longest for it. Returns whether it did.
function queue.serve_next(browser, minor)
  for _, session in ipairs(first_of_each(browser, minor)) do
    local worker = pools.pick(browser, minor, pools.avoided(session.avoid))
    if worker then
      queue.dequeue(session)
      sessions.grant(session, worker)
      tell('proxy', session.proxy, {granted = session.id})
      return true
    end
    if session.avoid == '' then return false end  -- any worker suits it, so there is none
  end
  return false
end
