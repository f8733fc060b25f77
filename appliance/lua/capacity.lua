-- What the operations' pages ask for: is_ready, count_workers. They are asked often, by every load balancer and
-- scraper of every proxy: so the one looks no further than it must, and the other counts in slices, between
-- which sessions are served.

local function has_fresh_worker(pool, avoid)
  for rank = 0, redis.call('ZCARD', pool) - 1 do
    local id = redis.call('ZRANGE', pool, rank, rank)[1]
    local worker = read_fields(key('worker', id), {'fresh_until', 'appliance'})
    if worker and is_fresh(worker) and not avoid[worker.appliance .. '/'] then return true end
  end
  return false
end

-- is_ready {browser, avoid} -> {ready}
-- Tells whether a worker of a browser is available, free or not, on an appliance that is not to be avoided.
register('is_ready', function(a)
  local avoid = avoided(a.avoid) or {}
  for _, minor in ipairs(minors_of(a.browser)) do
    if has_fresh_worker(key('pool', a.browser, minor), avoid) then return {ready = true} end
  end
  return {ready = false}
end)

local COUNTED = {'browser', 'minor', 'status', 'lifetime', 'concurrency', 'quota', 'fresh_until'}

local function count_worker(pool, worker)
  if not is_fresh(worker) then return end
  local active, concurrency = active_of(worker.id), tonumber(worker.concurrency)
  pool[worker.status], pool.active = pool[worker.status] + 1, pool.active + active
  if worker.status == 'available' then
    pool.slots = pool.slots + concurrency
    pool.free = pool.free + math.max(0, math.min(concurrency - active, remaining_of(worker)))
  end
end

-- count_workers {cursor} -> {cursor, pools}, these by browser and minor: {standby, available, draining, slots, active, free}
-- Counts the next ones of all workers (`next_workers` in pool.lua).
register('count_workers', function(a)
  local cursor, workers = next_workers(a.cursor, COUNTED)
  local pools = {}
  for _, worker in ipairs(workers) do
    local browser = pools[worker.browser] or {}
    browser[worker.minor] = browser[worker.minor]
      or {standby = 0, available = 0, draining = 0, slots = 0, active = 0, free = 0}
    pools[worker.browser] = browser
    count_worker(browser[worker.minor], worker)
  end
  return {cursor = cursor, pools = pools}
end)
