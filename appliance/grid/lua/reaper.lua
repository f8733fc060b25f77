-- The reaper removes what is lost, and mends what Redis lost of the rest (an eviction, a failover).
--
-- One record that cannot be read must not keep all others from being reaped: it is forgotten instead.

local REAPED_AT_ONCE = 100

-- Calls `step` with each id, and `forget` if that fails. Returns how many ids there were.
local function each(ids, step, forget)
  for _, id in ipairs(ids) do
    local succeeded, problem = attempt(step, id)
    if not succeeded then
      forget(id)
      settle()
      record('record.unreadable', 'record', id, 'problem', tostring(problem))
    end
  end
  return #ids
end

local function overdue(kind)
  return redis.call('ZRANGE', key(kind), '-inf', '(' .. whole(NOW), 'BYSCORE', 'LIMIT', 0, REAPED_AT_ONCE)
end

local function remove_late_workers()
  local removed = 0
  local function remove_late(id)
    local worker = workers.read(id)
    if worker and workers.is_fresh(worker) then  -- a proxy of an earlier version scores by the last heartbeat
      redis.call('ZADD', key('workers'), whole(worker.fresh_until), id)
      return
    end
    local reason = worker and 'worker ' .. worker.name .. ' stopped answering' or 'its worker stopped answering'
    workers.remove(id, reason, 'silent')
    removed = removed + 1
  end
  local looked_at = each(overdue('workers'), remove_late, function(id)
    redis.call('DEL', key('worker', id))
    workers.forget_traces(id, 'its worker stopped answering', 'worker')
  end)
  return removed, looked_at
end

-- Ends the sessions whose leases have expired. Their proxy is told: if it was only paused or cut off, it asserts them.
local function end_expired()
  local expired = redis.call('ZRANGEBYSCORE', key('leases'), '-inf', NOW, 'LIMIT', 0, REAPED_AT_ONCE)
  return each(expired, function(id)
    local proxy = redis.call('HGET', key('session', id), 'proxy')
    if sessions.finish(id, 'its proxy stopped answering', 'appliance') then tell('proxy', proxy, {expired = id}) end
    redis.call('ZREM', key('leases'), id)
  end, function(id)
    redis.call('ZREM', key('leases'), id)
    redis.call('DEL', key('session', id))
  end)
end

-- Removes a session whose record is lost from every queue.
local function forget_ticket(id)
  redis.call('ZREM', key('deadlines'), id)
  for _, browser in ipairs(BROWSERS) do
    for _, name in ipairs(queue.all(browser)) do redis.call('ZREM', name, id) end
  end
end

-- Ends the waiting sessions among these, and removes the others from the queues.
local function end_waiting(ids, reason, ended_by)
  return each(ids, function(id)
    local is_waiting = redis.call('HGET', key('session', id), 'status') == 'waiting'
    if is_waiting then sessions.finish(id, reason, ended_by) else forget_ticket(id) end
  end, forget_ticket)
end

-- Forgets the proxies that are gone, and ends the sessions that waited in them, which would fill the queue.
local function forget_proxies()
  local proxies, orphans = key('proxies'), {}
  if redis.call('ZREMRANGEBYSCORE', proxies, '-inf', '(' .. NOW) == 0 then return 0 end
  for _, id in ipairs(redis.call('ZRANGE', key('deadlines'), 0, -1)) do
    local proxy = redis.call('HGET', key('session', id), 'proxy')
    if not (proxy and redis.call('ZSCORE', proxies, proxy)) then orphans[#orphans + 1] = id end
  end
  return end_waiting(orphans, 'its proxy stopped answering', 'appliance')
end

local SAMPLE = 10  -- workers of a pool that each reap looks at: with many proxies, all of them soon

-- Mends an appliance's team, and a sample of its pool: a worker without a record is removed, and a worker that is not
-- in `workers` is added there, to be reaped like others.
local function mend(browser, minor, appliance)
  local pool, serving = key('pool', browser, minor), key('serving', browser, minor, appliance)
  local function look_at(id)
    local fresh_until = redis.call('HGET', key('worker', id), 'fresh_until')
    if fresh_until then return redis.call('ZADD', key('workers'), 'NX', whole(fresh_until), id) end
    workers.forget_member({id = id, browser = browser, minor = minor, appliance = appliance})
    pools.leave(browser, minor, id)
    workers.forget_traces(id, 'its worker stopped answering', 'worker')
  end
  for _, id in ipairs(redis.call('SMEMBERS', serving)) do look_at(id) end
  for _, id in ipairs(redis.call('ZRANGE', key('standby', browser, minor, appliance), 0, -1)) do look_at(id) end
  for _, id in ipairs(redis.call('ZRANDMEMBER', pool, SAMPLE)) do look_at(id) end
end

local SWEPT_AT_ONCE = '200'  -- of all keys that Redis holds; those of another user cost a tenth of a microsecond each
local LEASE_OF_LOST_MS = 15000

-- Adds a session to `leases` or `deadlines`, where the reaper looks, if it is in neither.
local function list_session(id)
  if redis.call('ZSCORE', key('leases'), id) or redis.call('ZSCORE', key('deadlines'), id) then return end
  local session = sessions.read(id)
  if not session then return end
  if session.status == 'waiting' then return redis.call('ZADD', key('deadlines'), session.deadline, id) end
  redis.call('ZADD', key('leases'), whole(NOW + session.lease_ms), id)
end

-- Adds a worker to `workers`, where the reaper looks, if it is not there. A worker whose record is lost may register
-- again: its sessions keep their slots as long as they have leases.
local function list_worker(id)
  local fresh_until = redis.call('HGET', key('worker', id), 'fresh_until')
  if fresh_until then return redis.call('ZADD', key('workers'), 'NX', whole(fresh_until), id) end
  workers.mend_slots({id = id, ttl = LEASE_OF_LOST_MS})
end

-- Looks at some of all keys. Redis may have lost everything that leads to a session or a worker; if its proxy or
-- process is gone too, nothing else finds it.
local function sweep()
  local cursor = redis.call('GET', key('sweep')) or '0'
  local following, found = unpack(redis.call('SCAN', cursor, 'MATCH', NS .. '*', 'COUNT', SWEPT_AT_ONCE))
  for _, name in ipairs(found) do
    local kind, id = name:sub(#NS + 1):match('^(%a+):([^:]+)')
    local list = kind == 'session' and list_session or kind == 'worker' and list_worker
    if list then
      each({id}, list, function() redis.call('DEL', name) end)
    end
  end
  redis.call('SET', key('sweep'), following)
end

-- reap {silence_ms, appliance, history_keep, history_max_age_ms} -> {workers, sessions, waiting, more}
-- Removes workers without heartbeats, sessions whose leases have expired, waiting sessions whose proxy is gone or whose
-- deadline has passed, and silent appliances. Every proxy calls it; the first to come does the work. There is `more` to
-- do if one call cannot do all of it: other calls run in between.
--
-- Mends the teams of `appliance`, the caller's own, and sweeps some of all keys. From now on the grid's clock counts a
-- silence of all callers as `silence_ms` at most. The history is kept within its bounds, if they are given.
register('reap', function(a)
  limit_silence(a.silence_ms)
  local removed, looked_at = remove_late_workers()
  local expired = end_expired()
  local waiting = end_waiting(overdue('deadlines'), 'deadline passed', 'grid')
  local more = math.max(looked_at, expired, waiting) == REAPED_AT_ONCE
  waiting = waiting + forget_proxies()
  appliances.forget()
  for _, browser in ipairs(not more and BROWSERS or {}) do
    for _, minor in ipairs(pools.recent_minors(browser)) do mend(browser, minor, a.appliance) end
  end
  if not more then
    sweep()
    if a.history_keep then history.trim(a.history_keep, a.history_max_age_ms) end
  end
  return {workers = removed, sessions = expired, waiting = waiting, more = more}
end)

-- release_proxy {proxy, cursor} -> {cursor, sessions}
-- Ends the sessions of a proxy that has ended: the active ones in slices (from the cursor "0" on until it is "0"
-- again), the waiting ones with the last slice. Returns how many ended.
register('release_proxy', function(a)
  local following, found = unpack(redis.call('ZSCAN', key('leases'), a.cursor, 'COUNT', REAPED_AT_ONCE))
  local held = {}
  for i = 1, #found, 2 do
    if redis.call('HGET', key('session', found[i]), 'proxy') == a.proxy then held[#held + 1] = found[i] end
  end
  local ended = each(held, function(id) sessions.finish(id, 'its proxy ended', 'appliance') end, function(id)
    redis.call('ZREM', key('leases'), id)
  end)
  if following == '0' and redis.call('ZSCORE', key('proxies'), a.proxy) then
    redis.call('ZADD', key('proxies'), 0, a.proxy)
    forget_proxies()
  end
  return {cursor = following, sessions = ended}
end)
