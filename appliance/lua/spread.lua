-- Spreading: which workers of a pool are `apart`, so that selection need not age them apart (pool.lua).
--
-- A worker is apart if it has at least EVEN x quota / workers more sessions left than the one before it, in
-- the order of their ends; the first always is, or it would not get away from the second. Only the NEAREST
-- are looked at: the others come later, and are chosen lifetime-first until then.

local NEAREST = 64           -- how many ends are looked at
local EVEN = 0.9             -- of the sessions between two ends if these were spread evenly

-- Gives the available workers nearest to their quota, in the order of their ends. Of those that are apart, no
-- more than NEAREST, all are read.
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
    if not read_worker(id) then return leave_pool(browser, minor, id) end
    redis.call(command, key('worker', id), 'apart', ...)
    touch(read_worker(id))
  end
  for _, id in ipairs(redis.call('SMEMBERS', marked)) do
    if not apart[id] then
      redis.call('SREM', marked, id)
      mark(id, 'HDEL')
    end
    apart[id] = nil
  end
  for id in pairs(apart) do
    redis.call('SADD', marked, id)
    mark(id, 'HSET', 1)
  end
end
