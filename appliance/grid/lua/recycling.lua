-- Recycling: the ends of a pool's workers are kept apart, so that no more are away than can be borne.
--
-- Selection keeps them apart where it has a choice (pools.lua). It has none when all slots are busy: workers
-- that started together then end together. So a worker near its quota is recycled some sessions early if
-- the next ones would else reach theirs while it is away.
--
--   demand   how many sessions the pool starts while one worker is away: starts per millisecond, times
--            the mean time from a worker's drain to its successor, both measured
--   places   how many workers may be away at once: one, and one for each spare
--   share    how many sessions another worker may be given while one is away: the mean, with the absence's
--            deviation added to it, and three times its own deviation (starts come near enough to
--            Poisson's), but at most SPREAD x places x quota / workers
--
-- The k-th nearest to its quota outlasts those before it if it has (k - 1 + those away already) / places
-- shares left. If one has less, the nearest is recycled now, which costs up to EARLY of its sessions; but not
-- if a worker is missing already and no spare would take its place. If the demand is greater than the
-- quota for each place, more must be away at once in any case, and none is recycled early.
--
-- A worker is `apart`, so that selection need not age it apart, if it has at least EVEN x quota / workers more sessions
-- left than the one before it, in the order of their ends; the first always is, or it would not get away from the
-- second. Only the NEAREST are looked at: the others come later, and are chosen lifetime-first until then.

local LOOK_EVERY_MS = 500
local RATE_OVER_MS = 5000    -- over which the starts are smoothed, at least
local USUAL_RETURN_MS = 3000 -- before one is measured
local LONGEST_AWAY_MS = 300000  -- what is longer is a long session's, not the rule
local WEIGHT = 0.2           -- of a new measurement
local EARLY = 1 / 3          -- of the quota: with more than that left, no worker is recycled early
local SPREAD = 1.5           -- times what each has if the ends are spread evenly: more room is not asked for
local NEAREST = 64           -- how many ends are looked at
local EVEN = 0.9             -- of the sessions between two ends if these were spread evenly
local RETURN_MS = 30000      -- a worker that is not back by then is not coming

-- Recycles a worker: it drains, and how long it is away will be measured.
local function recycle(worker, reason)
  workers.turn(worker, 'draining', reason, 'quota')
  redis.call('HSET', key('left', worker.browser, worker.minor), workers.full_name(worker), NOW)
end

-- Counts a session that a worker is given. Its last one turns it to draining.
function recycling.count_start(worker)
  redis.call('HINCRBY', key('policy', worker.browser, worker.minor), 'starts', '1')
  worker.lifetime = redis.call('HINCRBY', key('worker', worker.id), 'lifetime', '1')
  local remaining = workers.remaining(worker)
  if remaining == 0 then return recycle(workers.read(worker.id), 'quota reached') end
  touch_taken(worker)
  if remaining <= worker.quota * EARLY then touch_ends(worker.browser, worker.minor) end
end

-- Undoes `count_start`, for a session that its worker did not get.
function recycling.uncount_start(worker)
  redis.call('HINCRBY', key('policy', worker.browser, worker.minor), 'starts', -1)
  if tonumber(worker.lifetime) > 0 then
    worker.lifetime = redis.call('HINCRBY', key('worker', worker.id), 'lifetime', -1)
  end
end

-- Sets until when a worker counts as away: while it drains, and for RETURN_MS after it is gone, unless its successor
-- is there already. `before` is the worker's previous status.
function recycling.mark(worker, before)
  local awaited, name, until_ms = key('recycling', worker.browser, worker.minor), workers.full_name(worker), nil
  if worker.status == 'draining' then until_ms = NOW + worker.ttl end
  if worker.status == 'gone' then
    local is_awaited = tonumber(redis.call('ZSCORE', awaited, name) or 0) >= NOW
    if before == 'draining' and not is_awaited then return end
    until_ms = NOW + RETURN_MS
  end
  if until_ms and not appliances.is_drained(worker.appliance) then
    redis.call('ZADD', awaited, until_ms, name)
  elseif redis.call('ZREM', awaited, name) == 0 then
    return
  end
  touch_policy(worker.browser, worker.minor)
end

-- Forgets the workers that are no longer awaited, and the size of their teams if no member is left.
function recycling.forget_awaited(browser, minor)
  local awaited = key('recycling', browser, minor)
  for _, name in ipairs(redis.call('ZRANGE', awaited, '-inf', '(' .. whole(NOW), 'BYSCORE', 'LIMIT', 0, 100)) do
    local appliance = name:match('^(.*)/')
    redis.call('ZREM', awaited, name)
    redis.call('HDEL', key('left', browser, minor), name)
    local serving, standby = key('serving', browser, minor, appliance), key('standby', browser, minor, appliance)
    if redis.call('EXISTS', serving, standby) == 0 then redis.call('HDEL', key('teams', browser, minor), appliance) end
  end
end

-- Measures how long workers are away: the mean, and the mean deviation from it.
local function measure_away(policy, away_ms)
  local mean, deviation = unpack(redis.call('HMGET', policy, 'away_ms', 'away_deviation_ms'))
  if mean then
    deviation = (1 - WEIGHT) * deviation + WEIGHT * math.abs(away_ms - mean)
    mean = (1 - WEIGHT) * mean + WEIGHT * away_ms
  end
  redis.call('HSET', policy, 'away_ms', mean or away_ms, 'away_deviation_ms', deviation or away_ms / 2)
end

-- Measures how long a new worker's predecessor was away since it was recycled.
function recycling.welcome(worker)
  local left = key('left', worker.browser, worker.minor)
  local since = redis.call('HGET', left, workers.full_name(worker))
  if since then
    measure_away(key('policy', worker.browser, worker.minor), math.min(NOW - since, LONGEST_AWAY_MS))
    redis.call('HDEL', left, workers.full_name(worker))
  end
end

local POLICY = {'quota', 'sampled', 'starts', 'counted', 'rate', 'away_ms', 'away_deviation_ms'}

-- Reads a pool's policy if it is time to look at it, or returns nil.
local function policy_to_look_at(name, browser, minor)
  local sampled = redis.call('HGET', name, 'sampled')
  if sampled and NOW - sampled < LOOK_EVERY_MS then return nil end
  if redis.call('HEXISTS', name, 'quota') == 0 then pools.update_policy(browser, minor) end
  return read_fields(name, POLICY)
end

-- Returns how many sessions of a pool start per millisecond; nil if measuring that has only just begun.
local function measure_rate(policy, name)
  local starts, rate = tonumber(policy.starts or 0), nil
  if policy.sampled then
    local passed, over = NOW - policy.sampled, math.max(RATE_OVER_MS, policy.away_ms or 0)
    local measured, weight = math.max(0, starts - (policy.counted or 0)) / passed, 1 - math.exp(-passed / over)
    rate = policy.rate and (1 - weight) * policy.rate + weight * measured or measured
    redis.call('HSET', name, 'rate', rate)
  end
  redis.call('HSET', name, 'sampled', NOW, 'counted', starts)
  return rate
end

-- Until it is measured how long a worker is away, its drain is assumed to last twice as long as a session. In that time
-- twice as many sessions start as are active (Little's law).
local function demand_of(policy, rate, nearest)
  if policy.away_ms then return rate * policy.away_ms end
  local active = 0
  for _, worker in ipairs(nearest) do active = active + worker.taken end
  return rate * USUAL_RETURN_MS + 2 * active
end

-- Returns how many workers are away, and how many are missing because no spare took their place.
local function count_away(teams, browser, minor)
  local by_appliance, away, missing = {}, 0, 0
  for _, name in ipairs(redis.call('ZRANGE', key('recycling', browser, minor), whole(NOW), '+inf', 'BYSCORE')) do
    local appliance = name:match('^(.*)/')
    by_appliance[appliance] = (by_appliance[appliance] or 0) + 1
    away = away + 1
  end
  for appliance, count in pairs(by_appliance) do
    local serving = redis.call('SCARD', key('serving', browser, minor, appliance))
    local target = (teams[appliance] or '0'):match('^%d+')
    missing = missing + math.max(0, math.min(count, target - serving))
  end
  return away, missing
end

local function count_places(teams)
  local places = 1
  for _, size in pairs(teams) do places = places + size:match('%d+$') end
  return places
end

-- Returns whether some of the nearest would reach their quota while those before them are away.
local function is_crowded(nearest, share, away, places)
  for k = 2, math.min(#nearest, NEAREST) do
    if nearest[k].remaining < (k - 1 + away) / places * share then return true end
  end
  return false
end

-- Recycles the worker nearest to its quota early, if the ends of its pool of `size` workers are too close. `mean` is
-- how many sessions each of the others is given while one is away, on average.
local function recycle_early(browser, minor, nearest, size, demand, mean)
  local first = workers.read(nearest[1].id)
  if not first then return pools.leave(browser, minor, nearest[1].id) end
  if nearest[1].remaining > first.quota * EARLY then return end
  local teams = read(key('teams', browser, minor)) or {}
  local away, missing = count_away(teams, browser, minor)
  local places = count_places(teams)
  local is_bearable = missing == 0 or redis.call('ZCARD', key('standby', browser, minor, first.appliance)) > 0
  if not is_bearable or demand > first.quota * places then return end
  local share = math.min(mean + 3 * math.sqrt(mean) + 1, SPREAD * places * first.quota / size)
  if is_crowded(nearest, share, away, places) then recycle(first, 'recycled early') end
end

local function apart_of(nearest, gap)
  local apart = {}
  for i = 1, math.min(#nearest, NEAREST) do
    apart[nearest[i].id] = i == 1 or nearest[i].remaining >= nearest[i - 1].remaining + gap or nil
  end
  return apart
end

-- Marks the workers whose ends are apart now, and unmarks those whose were.
local function mark_apart(browser, minor, nearest, gap)
  local marked, apart = key('apart', browser, minor), apart_of(nearest, gap)
  local function mark(id, command, ...)
    local worker = workers.find(id)
    if not worker then return pools.leave(browser, minor, id) end
    redis.call(command, key('worker', id), 'apart', ...)
    worker.apart = ...
    touch(worker)
  end
  for _, id in ipairs(redis.call('SMEMBERS', marked)) do
    if not apart[id] then
      redis.call('SREM', marked, id)
      mark(id, 'HDEL')
    end
    apart[id] = nil
  end
  for _, worker in ipairs(nearest) do
    if apart[worker.id] then
      redis.call('SADD', marked, worker.id)
      mark(worker.id, 'HSET', 1)
    end
  end
end

-- Looks at a pool, twice a second at most: whose ends are apart, and if they are too close.
function recycling.keep_ends_apart(browser, minor)
  local name, pool = key('policy', browser, minor), key('pool', browser, minor)
  local policy = policy_to_look_at(name, browser, minor)
  local rate = policy and measure_rate(policy, name)
  if not rate then return end
  local quota, size, nearest = tonumber(policy.quota), redis.call('ZCARD', pool), pools.nearest(pool, NEAREST)
  local demand = demand_of(policy, rate, nearest)
  redis.call('HSET', name, 'demand', demand)
  touch_policy(browser, minor)
  if quota == 0 or size < 2 then return mark_apart(browser, minor, {}, 0) end
  mark_apart(browser, minor, nearest, EVEN * quota / size)
  local mean = (demand + rate * (policy.away_deviation_ms or 0)) / (size - 1)
  recycle_early(browser, minor, nearest, size, demand, mean)
end
