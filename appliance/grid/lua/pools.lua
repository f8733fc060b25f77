-- Selection: which worker a session is given.
--
-- Lifetime-first. remaining = quota - lifetime, margin = max(1, floor(quota / available workers)).
-- Among the claimable workers with remaining > margin, the one with the fewest remaining, then with
-- the fewest active sessions; if there is none, the same among those with remaining >= 1. So workers
-- reach their quota one after another. Both orders are one score, so a choice costs O(log N).
--
-- That packs sessions onto few workers, so that they age apart. Workers that are `apart` already need no
-- packing: while they have two sessions left they come before the others, the one with the fewest active
-- sessions first, so that sessions are spread. recycling.lua finds out which are apart, twice a second at
-- most, once the pool's starts have been measured.
--
-- Where more sessions than the margin start while one worker is away (`demand`, see recycling.lua), the
-- workers that wait at the margin would be used up in a row before it is back: then there is no margin,
-- and one worker after another is used up whole. And while one of the pool is being recycled, no other
-- is given its last session if there is another way.
--
-- Scores, all below 2^53
--  taken x APART_PER_SESSION + remaining                claimable, its end is apart
--  CROWDED + remaining x SCORE_PER_SESSION + taken      claimable
--  BLOCKED + remaining x SCORE_PER_SESSION + taken      not claimable now: full, or its heartbeat is overdue
--  SUSPECT + remaining x SCORE_PER_SESSION + taken      not claimable until a heartbeat says that it is healthy

local SCORE_PER_SESSION = 4096   -- more than any worker's concurrency
local APART_PER_SESSION = 2 ^ 37  -- more than remain to a worker without quota
local CROWDED = 2 ^ 50
local BLOCKED = 2 ^ 52
local SUSPECT = 2 ^ 52 + 2 ^ 51
local LAST_APART, LAST_CLAIMABLE, LAST_BLOCKED = '(1125899906842624', '(4503599627370496', '(6755399441055744'  -- for Redis

local LOOKED_AT = 1000  -- workers, for a session that avoids some: more would hold up everybody else

-- What is read of a worker to give it a session: each field costs half a microsecond.
local CHOSEN = {'name', 'appliance', 'concurrency', 'quota', 'fresh_until', 'unclaimed', 'settled', 'apart'}

-- A pool may have another one beside it, which takes all its sessions with isolation=browser: this is behind its minor.
local BESIDE = '/browser'

local OFFERS_KEPT_MS = 600000  -- after they are over, for the sake of workers that were lost meanwhile

-- Returns a list of names to avoid as a set, or nil if it is empty.
function pools.avoided(list)
  if not list or list == '' then return nil end
  local set = {}
  for name in list:gmatch('%S+') do set[name] = true end
  return set
end

-- Returns the quota of a pool's workers, or nil if it has none.
local function quota_in(pool)
  for _, id in ipairs(redis.call('ZRANGE', pool, 0, LOOKED_AT)) do
    local quota = redis.call('HGET', key('worker', id), 'quota')
    if quota then return quota end
  end
end

-- Updates what `pick` goes by, after a pool's workers or those being recycled have changed.
function pools.update_policy(browser, minor)
  local policy = key('policy', browser, minor)
  recycling.forget_awaited(browser, minor)
  local size = redis.call('ZCARD', key('pool', browser, minor))
  local last = redis.call('ZRANGE', key('recycling', browser, minor), 0, 0, 'REV', 'WITHSCORES')
  local quota, demand = unpack(redis.call('HMGET', policy, 'quota', 'demand'))
  if not quota then
    quota = quota_in(key('pool', browser, minor))
    if quota then redis.call('HSET', policy, 'quota', quota) end
  end
  quota, demand = tonumber(quota or 0), tonumber(demand or 0)
  local margin = math.max(1, math.floor(quota / math.max(1, size)))
  if demand > margin and demand <= quota then margin = 0 end
  redis.call('HSET', policy, 'margin', margin, 'recycles_until', last[2] or 0)
end

local function score_of(worker)
  local taken, remaining = workers.taken(worker), workers.remaining(worker)
  local has_room = taken < tonumber(worker.concurrency) and remaining >= 1
  local claimable = has_room and not worker.suspect and workers.is_fresh(worker)
  if claimable and remaining >= 2 and worker.apart then return taken * APART_PER_SESSION + remaining end
  local class = claimable and CROWDED or worker.suspect and SUSPECT or BLOCKED
  return class + remaining * SCORE_PER_SESSION + taken
end

-- Removes a worker from a pool.
function pools.leave(browser, minor, id)
  if redis.call('ZREM', key('pool', browser, minor), id) == 1 then touch_policy(browser, minor) end
end

-- Places an available worker in its pool, claimable or not. A draining worker is told when its last session has ended.
function pools.place(worker)
  if worker.status == 'draining' and workers.active(worker.id) == 0 then tell('worker', worker.id, {drained = true}) end
  if worker.status ~= 'available' then return end
  local added = redis.call('ZADD', key('pool', worker.browser, worker.minor), whole(score_of(worker)), worker.id)
  if added == 1 then touch_policy(worker.browser, worker.minor) end
end

local appliance_by_worker, read_at = {}, nil

-- Returns the appliance of a worker. It is read once in a call, however many sessions avoid appliances.
local function appliance_of(id)
  if read_at ~= NOW then appliance_by_worker, read_at = {}, NOW end
  if not appliance_by_worker[id] then
    appliance_by_worker[id] = redis.call('HGET', key('worker', id), 'appliance') or ''
  end
  return appliance_by_worker[id]
end

-- Returns the worker with the lowest score in a range, except those to `avoid`, or nil.
local function lowest_in(pool, least, past, avoid)
  if not avoid then return redis.call('ZRANGE', pool, whole(least), past, 'BYSCORE', 'LIMIT', '0', '1')[1] end
  for _, id in ipairs(redis.call('ZRANGE', pool, whole(least), past, 'BYSCORE', 'LIMIT', '0', LOOKED_AT)) do
    if not avoid[id] and not avoid[appliance_of(id) .. '/'] then return id end
  end
end

-- Returns `margin` and `recycles_until` of a pool's policy, which is updated if it is lost.
local function policy_of(browser, minor)
  local policy = key('policy', browser, minor)
  local margin, recycles_until = unpack(redis.call('HMGET', policy, 'margin', 'recycles_until'))
  if not margin and redis.call('EXISTS', key('pool', browser, minor)) == 1 then
    pools.update_policy(browser, minor)
    margin, recycles_until = unpack(redis.call('HMGET', policy, 'margin', 'recycles_until'))
  end
  return margin, recycles_until
end

-- Returns the claimable worker that the rule above selects, or nil. A worker whose heartbeat is overdue loses its
-- place; the reaper does the rest. `avoid` is nil, or the set of workers and appliances (with a slash behind the name)
-- that this session avoids.
function pools.pick(browser, minor, avoid)
  local pool = key('pool', browser, minor)
  local function lowest(least, past) return lowest_in(pool, least, past, avoid) end
  local function with_left(remaining)
    return lowest(CROWDED + remaining * SCORE_PER_SESSION, LAST_CLAIMABLE)
  end
  while true do
    arrange_if_touched(browser, minor)
    local margin, recycles_until = policy_of(browser, minor)
    if not margin then return nil end
    local is_recycling = tonumber(recycles_until) >= NOW
    local id = lowest(0, LAST_APART) or is_recycling and (with_left(math.max(margin + 1, 2)) or with_left(2))
      or with_left(margin + 1) or with_left(1)
    if not id then return nil end
    local worker = read_fields(key('worker', id), CHOSEN)
    if not worker then
      pools.leave(browser, minor, id)
    elseif workers.is_fresh(worker) then
      worker.id, worker.browser, worker.minor, worker.status = id, browser, minor, 'available'
      return worker
    else
      touch(workers.find(id))
    end
  end
end

-- Returns what is behind the version of a pool's minor: BESIDE or "".
function pools.suffix(minor)
  return minor:match('/.*$') or ''
end

-- Returns the minor of the pool that a session gets a slot of. If it suits any version, that has no version: "" or
-- BESIDE.
function pools.of(session)
  if session.isolation ~= 'browser' then return session.minor end
  if session.minor ~= '' then
    local beside = session.minor .. BESIDE
    return pools.is_offered(session.browser, beside) and beside or session.minor
  end
  for _, minor in ipairs(pools.minors(session.browser)) do
    if pools.suffix(minor) == BESIDE then return BESIDE end
  end
  return ''
end

-- Returns how many of a pool's workers are available, and why sessions do not get those that they do not get: `suspect`,
-- or `overdue` by their heartbeats. Of the others, those with a `free` slot are left to sessions that do not avoid them.
function pools.count(browser, minor)
  local pool, overdue, claimable = key('pool', browser, minor), 0, 0  -- `claimable` counts overdue ones
  for _, id in ipairs(redis.call('ZRANGE', key('workers'), '-inf', '(' .. whole(NOW), 'BYSCORE', 'LIMIT', '0', LOOKED_AT)) do
    local score = tonumber(redis.call('ZSCORE', pool, id) or SUSPECT)
    if score < SUSPECT then overdue = overdue + 1 end
    if score < BLOCKED then claimable = claimable + 1 end
  end
  return {
    available = redis.call('ZCARD', pool),
    suspect = redis.call('ZCOUNT', pool, whole(SUSPECT), '+inf'),
    overdue = overdue,
    free = redis.call('ZCOUNT', pool, '0', LAST_CLAIMABLE) - claimable,
  }
end

function pools.is_offered(browser, minor)
  return tonumber(redis.call('ZSCORE', key('offers', browser), minor) or 0) >= NOW
end

-- Returns the Playwright versions in which a browser is offered, the newest first; since `from` if it is given.
function pools.minors(browser, from)
  local minors = redis.call('ZRANGE', key('offers', browser), whole(from or NOW), '+inf', 'BYSCORE')
  local function number(minor)
    local major, rest = minor:match('^(%d+)%.(%d+)')
    return tonumber(major or 0) * 10000 + tonumber(rest or 0)
  end
  table.sort(minors, function(a, b) return number(a) > number(b) end)
  return minors
end

-- Returns the versions that are offered, or were not so long ago, and forgets the others.
function pools.recent_minors(browser)
  redis.call('ZREMRANGEBYSCORE', key('offers', browser), '-inf', '(' .. whole(NOW - OFFERS_KEPT_MS))
  return pools.minors(browser, 0)
end

function pools.offer(browser, minor, until_ms)
  redis.call('ZADD', key('offers', browser), 'GT', whole(until_ms), minor)
end

-- Returns at least `count` of the available workers, those nearest to their quota, sorted by it. All workers that are
-- apart are among them; there are no more than `count`.
function pools.nearest(pool, count)
  local found = {}
  local function add(id, remaining, taken)
    found[#found + 1] = {id = id, remaining = remaining, taken = taken}
  end
  local function each(least, past, take)
    local flat = redis.call('ZRANGE', pool, whole(least), past, 'BYSCORE', 'LIMIT', 0, count, 'WITHSCORES')
    for i = 1, #flat, 2 do take(flat[i], flat[i + 1] - least) end
  end
  local function by_end(id, score)
    local taken = score % SCORE_PER_SESSION
    add(id, (score - taken) / SCORE_PER_SESSION, taken)
  end
  each(0, LAST_APART, function(id, score)
    local remaining = score % APART_PER_SESSION
    add(id, remaining, (score - remaining) / APART_PER_SESSION)
  end)
  each(CROWDED, LAST_CLAIMABLE, by_end)
  each(BLOCKED, LAST_BLOCKED, by_end)
  each(SUSPECT, '+inf', by_end)
  table.sort(found, function(a, b) return a.remaining < b.remaining or a.remaining == b.remaining and a.id < b.id end)
  return found
end
