-- For the operations' pages: is_ready, count_workers, count_appliances. Load balancers and scrapers call them often, on
-- every proxy. So is_ready stops at the first worker it finds, and the others count in slices, between which sessions
-- are served.

local function has_fresh_worker(pool, avoid)
  for rank = 0, redis.call('ZCARD', pool) - 1 do
    local id = redis.call('ZRANGE', pool, rank, rank)[1]
    local worker = read_fields(key('worker', id), {'fresh_until', 'appliance'})
    if worker and workers.is_fresh(worker) and not avoid[worker.appliance .. '/'] then return true end
  end
  return false
end

-- is_ready {browser, avoid} -> {ready}
-- Returns whether a worker of a browser is available, free or not, on an appliance that is not avoided.
register('is_ready', function(a)
  local avoid = pools.avoided(a.avoid) or {}
  for _, minor in ipairs(pools.minors(a.browser)) do
    if has_fresh_worker(key('pool', a.browser, minor), avoid) then return {ready = true} end
  end
  return {ready = false}
end)

-- Returns the next cursor, and fields of the next workers, from the cursor "0" on until it is "0" again. Up to 128
-- workers, which Redis keeps as a list, come at once; of more, some may come twice if many register or leave meanwhile.
local function next_workers(cursor, fields)
  local following, found = unpack(redis.call('ZSCAN', key('workers'), cursor, 'COUNT', 100))
  local counted = {}
  for i = 1, #found, 2 do
    local worker = read_fields(key('worker', found[i]), fields)
    if worker then
      worker.id = found[i]
      counted[#counted + 1] = worker
    end
  end
  return following, counted
end

local COUNTED = {
  'browser', 'minor', 'status', 'lifetime', 'concurrency', 'quota', 'fresh_until', 'suspect', 'unclaimed', 'settled',
}

local function count_worker(pool, worker)
  if not workers.is_fresh(worker) then return end
  local active, concurrency = workers.active(worker.id), tonumber(worker.concurrency)
  pool[worker.status], pool.active = pool[worker.status] + 1, pool.active + active
  if worker.status == 'available' then
    local free = worker.suspect and 0 or math.min(concurrency - workers.taken(worker), workers.remaining(worker))
    pool.slots, pool.free = pool.slots + concurrency, pool.free + math.max(0, free)
  end
end

-- count_workers {cursor} -> {cursor, counts}, these by browser and minor: {standby, available, draining, slots, active, free}
-- Counts the next workers (`next_workers`).
register('count_workers', function(a)
  local cursor, next_ones = next_workers(a.cursor, COUNTED)
  local counts = {}
  for _, worker in ipairs(next_ones) do
    local browser = counts[worker.browser] or {}
    browser[worker.minor] = browser[worker.minor]
      or {standby = 0, available = 0, draining = 0, slots = 0, active = 0, free = 0}
    counts[worker.browser] = browser
    count_worker(browser[worker.minor], worker)
  end
  return {cursor = cursor, counts = counts}
end)

local COUNTED_HERE = {'appliance', 'status', 'version', 'unclaimed', 'settled'}

-- count_appliances {cursor} -> {cursor, counts}, these by name: {standby, available, draining, sessions, versions}
-- Counts the next workers (`next_workers`) and their sessions by appliance. A connection whose session Redis has lost
-- counts as a session.
register('count_appliances', function(a)
  local cursor, next_ones = next_workers(a.cursor, COUNTED_HERE)
  local by_name = {}
  for _, worker in ipairs(next_ones) do
    local counts = by_name[worker.appliance]
      or {standby = 0, available = 0, draining = 0, sessions = 0, versions = {}}
    by_name[worker.appliance] = counts
    counts[worker.status] = counts[worker.status] + 1
    counts.sessions = counts.sessions + workers.taken(worker)
    counts.versions[worker.version] = true
  end
  return {cursor = cursor, counts = by_name}
end)
