-- Selection: which worker a session is given.
--
-- Lifetime-first. remaining = quota - lifetime, margin = max(1, floor(quota / available workers)).
-- Among the claimable workers with remaining > margin, the one with the fewest remaining, then with
-- the fewest active sessions; if there is none, the same among those with remaining >= 1. So workers
-- reach their quota one after another. Both orders are one score, so a choice costs O(log N).
--
-- That packs sessions onto few workers, which is there to age them apart. Those that are `apart` have no
-- need of it: they come before the others, and among them the one with the fewest active sessions, so that
-- sessions are spread. A worker is apart if it has at least EVEN x quota / workers more sessions left than
-- the one before it, in the order of their ends; the first always is, or it would not get away from the
-- second. Only a pool whose starts have been measured is looked at (recycling.lua), at most twice a second
-- and when workers come and go.
--
-- Where more sessions than the margin start while one worker is away (`demand`, see recycling.lua), the
-- workers that wait at the margin would be used up in a row before it is back: then there is no margin,
-- and one worker after another is used up whole. And while one of the pool is being recycled, no other
-- is given its last session if there is another way.
--
-- Scores, all below 2^53
--  taken x APART_PER_SESSION + remaining                claimable, its end is apart
--  CROWDED + remaining x SCORE_PER_SESSION + taken      claimable
--  BLOCKED + remaining x SCORE_PER_SESSION + taken      not claimable now

local SCORE_PER_SESSION = 4096   -- more than any worker's concurrency
local UNLIMITED = 2 ^ 36         -- remaining sessions of a worker without quota
local APART_PER_SESSION = 2 ^ 37
local CROWDED = 2 ^ 50
local BLOCKED = 2 ^ 52
local EVEN = 0.9                 -- of the sessions between two ends if these were spread evenly
local NEAREST = 64               -- how many ends are looked at
local EARLY = 1 / 3              -- of the quota: with more than that left, no worker is recycled early
local LAST_APART, LAST_CLAIMABLE = '(1125899906842624', '(4503599627370496'  -- CROWDED, BLOCKED for Redis

-- What is read of a worker to give it a session, and to place it: each field costs half a microsecond.
local CHOSEN = {'slot', 'endpoint', 'concurrency', 'quota', 'fresh_until', 'unclaimed', 'settled', 'apart'}
local PLACED = {
  'browser', 'minor', 'status', 'suspect', 'lifetime', 'concurrency', 'quota', 'fresh_until', 'unclaimed', 'settled',
  'apart',
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

-- Forgets the slots that are awaited no longer, and how large their teams were if nobody is left of those.
local function forget_awaited(browser, minor)
  local recycling = key('recycling', browser, minor)
  for _, slot in ipairs(redis.call('ZRANGE', recycling, '-inf', '(' .. whole(NOW), 'BYSCORE')) do
    local appliance = slot:match('^(.*)/')
    redis.call('ZREM', recycling, slot)
    redis.call('HDEL', key('left', browser, minor), slot)
    local serving, standby = key('serving', browser, minor, appliance), key('standby', browser, minor, appliance)
    if redis.call('EXISTS', serving, standby) == 0 then
      redis.call('HDEL', key('policy', browser, minor), 'target:' .. appliance, 'spares:' .. appliance)
    end
  end
end

-- Works out what `pick` goes by, whenever a pool's workers or those being recycled have changed.
local function update_policy(browser, minor)
  local policy, recycling = key('policy', browser, minor), key('recycling', browser, minor)
  forget_awaited(browser, minor)
  local workers = redis.call('ZCARD', key('pool', browser, minor))
  local last = redis.call('ZRANGE', recycling, 0, 0, 'REV', 'WITHSCORES')
  local quota, demand = unpack(redis.call('HMGET', policy, 'quota', 'demand'))
  quota, demand = tonumber(quota or 0), tonumber(demand or 0)
  local margin = math.max(1, math.floor(quota / math.max(1, workers)))
  if demand > margin and demand <= quota then margin = 0 end
  local gap = EVEN * quota / math.max(1, workers)
  redis.call('HSET', policy, 'margin', margin, 'gap', gap, 'recycles_until', last[2] or 0)
end

local function score_of(worker)
  local taken, remaining = taken_of(worker), remaining_of(worker)
  local claimable = taken < tonumber(worker.concurrency) and remaining >= 1 and not worker.suspect and is_fresh(worker)
  if claimable and remaining >= 2 and worker.apart then return taken * APART_PER_SESSION + remaining end
  return (claimable and CROWDED or BLOCKED) + remaining * SCORE_PER_SESSION + taken
end

local place  -- see below

-- Gives the available workers nearest to their quota, in the order of their ends. Few are `apart`, for only
-- such are looked at.
local function nearest_in(pool)
  local found = {}
  local function add(id, remaining, taken)
    found[#found + 1] = {id = id, remaining = remaining, taken = taken}
  end
  local function each(least, past, take)
    local flat = redis.call('ZRANGE', pool, whole(least), past, 'BYSCORE', 'LIMIT', 0, NEAREST, 'WITHSCORES')
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
  each(BLOCKED, '+inf', by_end)
  table.sort(found, function(a, b) return a.remaining < b.remaining or a.remaining == b.remaining and a.id < b.id end)
  return found
end

-- Marks the workers whose ends are apart: those with enough more sessions left than the one before.
local function mark_apart(browser, minor, nearest)
  local gap = tonumber(redis.call('HGET', key('policy', browser, minor), 'gap'))
  for i = 1, math.min(#nearest, NEAREST) do
    local worker = read_worker(nearest[i].id)
    local is_apart = i == 1 or nearest[i].remaining >= nearest[i - 1].remaining + gap
    if is_apart ~= (worker.apart ~= nil) then
      if is_apart then
        redis.call('HSET', key('worker', worker.id), 'apart', 1)
      else
        redis.call('HDEL', key('worker', worker.id), 'apart')
      end
      worker.apart = is_apart or nil
      place(worker)
    end
  end
end

-- Puts a worker into its pool, claimable or not, or takes it out, as its state demands.
function place(worker)
  local browser, minor, changed = worker.browser, worker.minor, nil
  if worker.status == 'available' then
    changed = redis.call('ZADD', key('pool', browser, minor), whole(score_of(worker)), worker.id)
  else
    changed = redis.call('ZREM', key('pool', browser, minor), worker.id)
  end
  if changed == 0 then return end
  update_policy(browser, minor)
  if redis.call('HEXISTS', key('policy', browser, minor), 'demand') == 1 then
    mark_apart(browser, minor, nearest_in(key('pool', browser, minor)))
  end
end

-- Gives the claimable worker that is next by the rule above, or nil. One whose heartbeat is overdue
-- is claimable no longer; the reaper sees to the rest.
local function pick(browser, minor)
  local pool = key('pool', browser, minor)
  local function first(least, past)
    return redis.call('ZRANGE', pool, whole(least), past, 'BYSCORE', 'LIMIT', '0', '1')[1]
  end
  local function nearest(remaining)
    return first(CROWDED + remaining * SCORE_PER_SESSION, LAST_CLAIMABLE)
  end
  local margin, recycles_until = unpack(redis.call('HMGET', key('policy', browser, minor), 'margin', 'recycles_until'))
  if not margin then return nil end
  local is_recycling = tonumber(recycles_until) >= NOW
  while true do
    local id = first(0, LAST_APART) or is_recycling and (nearest(math.max(margin + 1, 2)) or nearest(2))
      or nearest(margin + 1) or nearest(1)
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
