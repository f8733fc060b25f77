-- Recycling: the ends of a pool's workers are kept apart, so that one at a time is away.
--
-- Selection keeps them apart where it has a choice. It has none when all slots are busy: workers that
-- started together then end together. So a worker near its quota is recycled some sessions early if
-- the next ones would else reach theirs while it is away.
--
--   demand   how many sessions the pool starts while one worker is away: starts per millisecond, times
--            the time from a worker's drain to its successor, both measured
--   share    how many of them another worker may be given: the mean, and three times its deviation
--            (starts come near enough to Poisson's), but at most SPREAD x quota / workers
--
-- The k-th nearest to its quota outlasts those before it if it has k - 1 shares left. If one has less,
-- the nearest is recycled now, which costs up to EARLY of its sessions. If the demand is greater than
-- the quota, more than one must be away at once whatever is done, and nothing is.

local NEAREST = 64           -- how many are looked at
local LOOK_EVERY_MS = 500
local RATE_OVER_MS = 5000    -- over which the starts are smoothed
local USUAL_RETURN_MS = 3000 -- before one is measured
local LONGEST_AWAY_MS = 300000  -- what is longer is a long session's, not the rule
local WEIGHT = 0.2           -- of a new measurement
local SPREAD = 1.5           -- times what each has if the ends are spread evenly: more room is not asked for

-- Recycles a worker: it drains, and how long it is away will be measured.
local function recycle(id, reason)
  local worker = drain(id, reason)
  redis.call('HSET', key('left', worker.browser, worker.minor), slot_of(worker), NOW)
end

-- Notes that a worker is gone, to be awaited for a while; unless its slot has another already.
local function bid_farewell(worker)
  local awaited = redis.call('ZSCORE', key('recycling', worker.browser, worker.minor), slot_of(worker))
  if worker.status ~= 'draining' or tonumber(awaited or 0) >= NOW then mark_recycling(worker, NOW + RETURN_MS) end
end

-- Notes that a worker has come to a slot, and how long the slot was without one since it was recycled.
local function welcome_back(worker)
  local left, policy = key('left', worker.browser, worker.minor), key('policy', worker.browser, worker.minor)
  local since, known = redis.call('HGET', left, slot_of(worker)), redis.call('HGET', policy, 'away_ms')
  if since then
    local away = math.min(NOW - since, LONGEST_AWAY_MS)
    redis.call('HSET', policy, 'away_ms', known and (1 - WEIGHT) * known + WEIGHT * away or away)
    redis.call('HDEL', left, slot_of(worker))
  end
  mark_recycling(worker, nil)
end

-- Measures how many sessions of a browser are admitted per millisecond; nil if it was just done.
local function measure_rate(policy, name, browser)
  local passed = NOW - (policy.sampled or 0)
  if passed < LOOK_EVERY_MS then return nil end
  local arrivals, rate = tonumber(redis.call('GET', key('arrivals', browser)) or 0), 0
  if policy.sampled then
    local measured, weight = (arrivals - policy.arrivals) / passed, 1 - math.exp(-passed / RATE_OVER_MS)
    rate = policy.rate and (1 - weight) * policy.rate + weight * measured or measured
    redis.call('HSET', name, 'rate', rate)
  end
  redis.call('HSET', name, 'sampled', NOW, 'arrivals', arrivals)
  return rate
end

-- Until it was measured how long a worker is away, its drain is taken to last twice as long as a session,
-- in which twice as many sessions start as there are (Little's law).
local function demand_of(policy, rate, nearest)
  if policy.away_ms then return rate * policy.away_ms end
  local active = 0
  for _, worker in ipairs(nearest) do active = active + worker.taken end
  return rate * USUAL_RETURN_MS + 2 * active
end

-- Gives the available workers nearest to their quota.
local function nearest_in(pool)
  local found = {}
  for _, class in ipairs({{0, '(' .. whole(BLOCKED), 0}, {whole(BLOCKED), '+inf', BLOCKED}}) do
    local flat = redis.call('ZRANGE', pool, class[1], class[2], 'BYSCORE', 'LIMIT', 0, NEAREST, 'WITHSCORES')
    for i = 1, #flat, 2 do
      local score = flat[i + 1] - class[3]
      local taken = score % SCORE_PER_SESSION
      found[#found + 1] = {id = flat[i], remaining = (score - taken) / SCORE_PER_SESSION, taken = taken}
    end
  end
  table.sort(found, function(a, b) return a.remaining < b.remaining or a.remaining == b.remaining and a.id < b.id end)
  return found
end

-- Tells whether some of the nearest would reach their quota while those before them are away.
local function is_crowded(nearest, mean, even)
  local share = math.min(mean + 3 * math.sqrt(mean) + 1, SPREAD * even)
  for k = 2, math.min(#nearest, NEAREST) do
    if nearest[k].remaining < (k - 1) * share then return true end
  end
  return false
end

-- Recycles the worker nearest to its quota early, if the ends of its pool are too close.
local function keep_ends_apart(browser, minor)
  local name, pool = key('policy', browser, minor), key('pool', browser, minor)
  local policy = read(name)
  local quota, rate = tonumber(policy.quota), measure_rate(policy, name, browser)
  if quota == 0 or not rate then return end
  local nearest, workers = nearest_in(pool), redis.call('ZCARD', pool)
  local demand = demand_of(policy, rate, nearest)
  redis.call('HSET', name, 'demand', demand)
  update_policy(browser, minor)
  if workers < 2 or demand > quota or tonumber(policy.recycles_until) >= NOW then return end
  local first = nearest[1]
  local is_near = first.remaining <= redis.call('HGET', key('worker', first.id), 'quota') * EARLY
  if is_near and is_crowded(nearest, demand / (workers - 1), quota / workers) then
    recycle(first.id, 'recycled early')
  end
end
