-- Recycling: the ends of a pool's workers are kept apart, so that one at a time is away.
--
-- Selection keeps them apart where it has a choice. It has none when all slots are busy: workers that
-- started together then end together. So a worker near its quota is recycled some sessions early if
-- the next ones would else reach theirs while it is away.
--
--   demand   how many sessions the pool starts while one worker is away: starts per millisecond, times
--            the time from a worker's drain to its return, both measured
--   share    how many of them another worker may be given: the mean, and three times its deviation
--            (starts come near enough to Poisson's)
--
-- The k-th nearest to its quota outlasts those before it if it has k - 1 shares left. If one has less,
-- the nearest is recycled now, which costs up to EARLY of its sessions. If the demand is greater than
-- the quota, more than one must be away at once whatever is done, and nothing is.

local NEAREST = 64           -- how many are looked at
local LOOK_EVERY_MS = 500
local RATE_OVER_MS = 5000    -- over which the starts are smoothed
local USUAL_RETURN_MS = 3000 -- before one is measured
local WEIGHT = 0.2           -- of a new measurement

-- Smooths a measured time into a pool's policy.
local function measure(browser, minor, field, ms)
  local policy = key('policy', browser, minor)
  local known = redis.call('HGET', policy, field)
  redis.call('HSET', policy, field, known and (1 - WEIGHT) * known + WEIGHT * ms or ms)
end

-- Notes that a worker is gone, to be awaited for a while, and how long its drain took.
local function bid_farewell(worker)
  mark_recycling(worker, NOW + RETURN_MS)
  if worker.drained then measure(worker.browser, worker.minor, 'drain_ms', NOW - worker.drained) end
end

-- Notes that a worker has come to a slot, and how long that took since the last one left it.
local function welcome_back(worker)
  local expected = redis.call('ZSCORE', key('recycling', worker.browser, worker.minor), slot_of(worker))
  if expected then measure(worker.browser, worker.minor, 'return_ms', math.max(0, NOW - (expected - RETURN_MS))) end
  mark_recycling(worker, nil)
end

-- Measures how many sessions start per millisecond; nil if it was just done.
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

-- Until a drain was measured, it is taken to last twice as long as a session, in which twice as many
-- sessions start as there are (Little's law).
local function demand_of(policy, rate)
  local return_ms = policy.return_ms or USUAL_RETURN_MS
  if policy.drain_ms then return rate * (policy.drain_ms + return_ms) end
  return rate * return_ms + 2 * redis.call('ZCARD', key('leases'))
end

-- Gives the available workers nearest to their quota, as {id, remaining}.
local function nearest_in(pool)
  local found = {}
  for _, class in ipairs({{0, '(' .. whole(BLOCKED), 0}, {whole(BLOCKED), '+inf', BLOCKED}}) do
    local flat = redis.call('ZRANGE', pool, class[1], class[2], 'BYSCORE', 'LIMIT', 0, NEAREST, 'WITHSCORES')
    for i = 1, #flat, 2 do
      found[#found + 1] = {flat[i], math.floor((flat[i + 1] - class[3]) / SCORE_PER_SESSION)}
    end
  end
  table.sort(found, function(a, b) return a[2] < b[2] or a[2] == b[2] and a[1] < b[1] end)
  return found
end

-- Tells whether some of the nearest would reach their quota while those before them are away.
local function is_crowded(nearest, mean)
  local share = mean + 3 * math.sqrt(mean) + 1
  for k = 2, math.min(#nearest, NEAREST) do
    if nearest[k][2] < (k - 1) * share then return true end
  end
  return false
end

-- Recycles the worker nearest to its quota early, if the ends of its pool are too close.
local function keep_ends_apart(browser, minor)
  local name, pool = key('policy', browser, minor), key('pool', browser, minor)
  local policy = read(name)
  local quota, rate = tonumber(policy.quota), measure_rate(policy, name, browser)
  if quota == 0 or not rate then return end
  local demand, others = demand_of(policy, rate), redis.call('ZCARD', pool) - 1
  redis.call('HSET', name, 'demand', demand)
  update_policy(browser, minor)
  if others < 1 or demand > quota or tonumber(policy.recycles_until) >= NOW then return end
  local nearest = nearest_in(pool)
  local id, remaining = unpack(nearest[1])
  if remaining <= redis.call('HGET', key('worker', id), 'quota') * EARLY and is_crowded(nearest, demand / others) then
    drain(id, 'recycled early')
  end
end
