-- Selection: which worker a session is given.
--
-- Lifetime-first. remaining = quota - lifetime, margin = max(1, floor(quota / workers of the pool)).
-- Among the claimable workers with remaining > margin, the one with the fewest remaining, then with
-- the fewest active sessions; if there is none, the same among those with remaining >= 1. So workers
-- reach their quota one after another. Both orders are one score, so a choice costs O(log N).

local SCORE_PER_SESSION = 4096   -- more than any worker's concurrency
local UNLIMITED = 2 ^ 40         -- remaining sessions of a worker without quota; score < 2^53

-- What selection needs to know of a worker; reading all of it costs twice as much.
local PLACED = {
  'id', 'browser', 'minor', 'appliance', 'slot', 'endpoint', 'status', 'suspect', 'lifetime', 'concurrency',
  'quota', 'target', 'heartbeat', 'ttl', 'unclaimed', 'settled',
}

local function read_worker(id)
  return read_fields(key('worker', id), PLACED)
end

local function active_of(id)
  return redis.call('SCARD', key('worker', id, 'sessions'))
end

-- How many slots of a worker are taken: by sessions, and by connections whose sessions Redis has
-- forgotten and their proxies are about to assert.
local function taken_of(worker)
  local unclaimed = tonumber(worker.settled or 0) > NOW and tonumber(worker.unclaimed) or 0
  return active_of(worker.id) + unclaimed
end

local function is_fresh(worker)
  return NOW - tonumber(worker.heartbeat) <= tonumber(worker.ttl)
end

-- Puts a worker into its pool of claimable ones, or takes it out, as its state demands.
local function place(worker)
  local pool = key('pool', worker.browser, worker.minor)
  local active, quota = taken_of(worker), tonumber(worker.quota)
  local remaining = quota == 0 and UNLIMITED or quota - tonumber(worker.lifetime)
  if worker.status == 'available' and not worker.suspect and is_fresh(worker)
      and active < tonumber(worker.concurrency) and remaining >= 1 then
    redis.call('ZADD', pool, remaining * SCORE_PER_SESSION + active, worker.id)
  else
    redis.call('ZREM', pool, worker.id)
  end
end

-- Teams: the workers of one pool on one appliance. `target` of them serve, the others stand by with a
-- warm browser. When one of them leaves, for whatever reason, the spare that started first takes its
-- place in the same step, so that recycling costs no capacity.
local function team(kind, worker)
  return key(kind, worker.browser, worker.minor, worker.appliance)
end

local function serve(worker)
  redis.call('SADD', team('serving', worker), worker.id)
  redis.call('ZREM', team('standby', worker), worker.id)
  redis.call('ZADD', key('members', worker.browser, worker.minor), worker.quota, worker.id)
  place(worker)
end

local function promote(worker)
  while redis.call('SCARD', team('serving', worker)) < tonumber(worker.target) do
    local id = redis.call('ZPOPMIN', team('standby', worker))[1]
    if not id then return end
    local spare = read(key('worker', id))
    if spare and spare.status == 'standby' and is_fresh(spare) then
      spare.status = 'available'
      redis.call('HSET', key('worker', id), 'status', 'available')
      record('worker.promoted', 'worker', id)
      serve(spare)
    end
  end
end

-- Takes a worker into its team, by its status: to serve, or to stand by until it is needed. A draining
-- one, which Redis may have forgotten, only counts as a member of its pool.
local function join(worker)
  if worker.status == 'available' then
    serve(worker)
  elseif worker.status == 'standby' then
    redis.call('ZADD', team('standby', worker), worker.started, worker.id)
    promote(worker)
  else
    redis.call('ZADD', key('members', worker.browser, worker.minor), worker.quota, worker.id)
  end
end

-- Takes a worker out of its team, where a spare takes its place.
local function leave(worker)
  redis.call('SREM', team('serving', worker), worker.id)
  redis.call('ZREM', team('standby', worker), worker.id)
  place(worker)
  promote(worker)
end

local function margin_of(browser, minor)
  local members = key('members', browser, minor)
  local top = redis.call('ZREVRANGE', members, 0, 0, 'WITHSCORES')
  local quota = tonumber(top[2] or 0)
  return math.max(1, math.floor(quota / math.max(1, redis.call('ZCARD', members))))
end

-- Gives the claimable worker that is next by the rule above, or nil. One whose heartbeat is overdue
-- leaves the pool here; the reaper sees to the rest.
local function pick(browser, minor)
  local pool = key('pool', browser, minor)
  local beyond_margin = (margin_of(browser, minor) + 1) * SCORE_PER_SESSION
  while true do
    local id = redis.call('ZRANGEBYSCORE', pool, beyond_margin, '+inf', 'LIMIT', 0, 1)[1]
      or redis.call('ZRANGEBYSCORE', pool, SCORE_PER_SESSION, '+inf', 'LIMIT', 0, 1)[1]
    if not id then return nil end
    local worker = read_worker(id)
    if worker and is_fresh(worker) then return worker end
    redis.call('ZREM', pool, id)
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
