-- Selection: which worker a session is given.
--
-- Lifetime-first. remaining = quota - lifetime, margin = max(1, floor(quota / available workers)).
-- Among the claimable workers with remaining > margin, the one with the fewest remaining, then with
-- the fewest active sessions; if there is none, the same among those with remaining >= 1. So workers
-- reach their quota one after another. Both orders are one score, so a choice costs O(log N).
--
-- Where more sessions than the margin start while one worker is away (`demand`, see recycling.lua), the
-- workers that wait at the margin would be used up in a row before it is back: then there is no margin,
-- and one worker after another is used up whole. And while one of the pool is being recycled, no other
-- is given its last session if there is another way.

local SCORE_PER_SESSION = 4096   -- more than any worker's concurrency
local UNLIMITED = 2 ^ 39         -- remaining sessions of a worker without quota
local EARLY = 1 / 3              -- of the quota: with more than that left, no worker is recycled early
local BLOCKED = 2 ^ 52           -- added to the score of a worker that cannot be claimed now; all are < 2^53
local LAST_CLAIMABLE = '(4503599627370496'  -- BLOCKED, as Redis is given it

-- What is read of a worker to give it a session, and to place it: each field costs half a microsecond.
local CHOSEN = {'slot', 'endpoint', 'concurrency', 'quota', 'fresh_until', 'unclaimed', 'settled'}
local PLACED = {
  'browser', 'minor', 'status', 'suspect', 'lifetime', 'concurrency', 'quota', 'fresh_until', 'unclaimed', 'settled',
}

local function read_worker(id)
  local worker = read_fields(key('worker', id), PLACED)
  if worker then worker.id = id end
  return worker
end

local function active_of(id)
  return redis.call('SCARD', key('worker', id, 'sessions'))
end

-- How many slots of a worker are taken: by sessions, and by connections whose sessions Redis has
-- forgotten and their proxies are about to assert.
local function taken_of(worker)
  local unclaimed = worker.unclaimed and tonumber(worker.settled) > NOW and tonumber(worker.unclaimed) or 0
  return active_of(worker.id) + unclaimed
end

local function is_fresh(worker)
  return tonumber(worker.fresh_until) >= NOW
end

local function remaining_of(worker)
  local quota = tonumber(worker.quota)
  return quota == 0 and UNLIMITED or math.max(0, math.min(UNLIMITED, quota - worker.lifetime))
end

-- Works out what `pick` goes by, whenever a pool's workers or those being recycled have changed.
local function update_policy(browser, minor)
  local policy, recycling = key('policy', browser, minor), key('recycling', browser, minor)
  for _, slot in ipairs(redis.call('ZRANGE', recycling, '-inf', '(' .. whole(NOW), 'BYSCORE')) do
    redis.call('ZREM', recycling, slot)
    redis.call('HDEL', key('left', browser, minor), slot)
  end
  local workers = redis.call('ZCARD', key('pool', browser, minor))
  local last = redis.call('ZRANGE', recycling, 0, 0, 'REV', 'WITHSCORES')
  local quota, demand = unpack(redis.call('HMGET', policy, 'quota', 'demand'))
  quota, demand = tonumber(quota or 0), tonumber(demand or 0)
  local margin = math.max(1, math.floor(quota / math.max(1, workers)))
  if demand > margin and demand <= quota then margin = 0 end
  redis.call('HSET', policy, 'margin', margin, 'recycles_until', last[2] or 0)
end

-- Puts a worker into its pool, claimable or not, or takes it out, as its state demands.
local function place(worker)
  local pool, changed = key('pool', worker.browser, worker.minor), nil
  if worker.status == 'available' then
    local taken, remaining = taken_of(worker), remaining_of(worker)
    local claimable = taken < tonumber(worker.concurrency) and remaining >= 1 and not worker.suspect and is_fresh(worker)
    local score = remaining * SCORE_PER_SESSION + taken
    changed = redis.call('ZADD', pool, whole(claimable and score or score + BLOCKED), worker.id)
  else
    changed = redis.call('ZREM', pool, worker.id)
  end
  if changed == 1 then update_policy(worker.browser, worker.minor) end
end

-- Gives the claimable worker that is next by the rule above, or nil. One whose heartbeat is overdue
-- is claimable no longer; the reaper sees to the rest.
local function pick(browser, minor)
  local pool = key('pool', browser, minor)
  local function first(least)
    return redis.call('ZRANGE', pool, whole(least * SCORE_PER_SESSION), LAST_CLAIMABLE, 'BYSCORE', 'LIMIT', '0', '1')[1]
  end
  local margin, recycles_until = unpack(redis.call('HMGET', key('policy', browser, minor), 'margin', 'recycles_until'))
  if not margin then return nil end
  local is_recycling = tonumber(recycles_until) >= NOW
  while true do
    local id = is_recycling and (first(math.max(margin + 1, 2)) or first(2)) or first(margin + 1) or first(1)
    if not id then return nil end
    local worker = read_fields(key('worker', id), CHOSEN)
    if is_fresh(worker) then
      worker.id, worker.browser, worker.minor, worker.status = id, browser, minor, 'available'
      return worker
    end
    place(read_worker(id))
  end
end

local function is_offered(browser, minor)
  return tonumber(redis.call('ZSCORE', key('offers', browser), minor) or 0) >= NOW
end

-- Gives the Playwright versions in which a browser is offered, the newest first.
local function minors_of(browser)
  local offers = key('offers', browser)
  redis.call('ZREMRANGEBYSCORE', offers, '-inf', '(' .. NOW)
  local minors = redis.call('ZRANGE', offers, 0, -1)
  local function number(minor)
    local major, rest = minor:match('^(%d+)%.(%d+)')
    return tonumber(major or 0) * 10000 + tonumber(rest or 0)
  end
  table.sort(minors, function(a, b) return number(a) > number(b) end)
  return minors
end

local function offer(browser, minor, ttl_ms)
  redis.call('ZADD', key('offers', browser), 'GT', NOW + ttl_ms, minor)
end
