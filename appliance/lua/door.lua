-- The door: every call of the library comes in here, and what follows from its changes is done here.
--
-- A function changes records, and says what it changed: `touch` and its like. It never places a worker, promotes a
-- spare or hands out a slot. That is done when the function is done (`settle`), and the first four steps also before
-- each choice of a worker, which so sees what was changed before it (`arrange`):
--
--  1. Place   each touched worker in its pool, by what is left of it; one that drains is told when it is idle.
--  2. Fill    each touched team: a spare takes the place of a worker that has left.
--  3. Adapt   the policy of the pool, if its workers or those being recycled have changed.
--  4. Look    whether the ends of the pool's workers are apart, if somebody asked for that.
--  5. Hand    the pool's next free slot to whoever has waited longest for it.
--
-- Each step may touch again: so it goes on from the first one, until nothing is touched and nobody can be served. No
-- step reaches beyond its pool. What is touched is kept in lists, so that the same calls always lead to the same state.

local touched = {}  -- the touched pools, in order, and each by its name

-- Returns what is touched of a pool.
local function touched_in(browser, minor)
  local name = browser .. ':' .. minor
  local pool = touched[name]
  if not pool then
    pool = {browser = browser, minor = minor, workers = {}, teams = {}}
    touched[name], touched[#touched + 1] = pool, pool
  end
  return pool
end

local function add(list, name, thing)
  if not list[name] then list[#list + 1] = name end
  list[name] = thing
end

-- Takes the first out of a list; returns nil if it is empty.
local function take(list)
  local name = table.remove(list, 1)
  if not name then return nil end
  local thing = list[name]
  list[name] = nil
  return thing
end

-- Says that something of a worker has changed on which its place depends. `worker` is its record, as Redis has it now;
-- nil, for one that is gone, is nothing to follow.
local function touch(worker)
  if worker then add(touched_in(worker.browser, worker.minor).workers, worker.id, worker) end
end

-- Says that somebody has come to or left a team, that of a worker or of `{browser, minor, appliance}`.
local function touch_team(member)
  add(touched_in(member.browser, member.minor).teams, member.appliance, member.appliance)
end

-- Says that the number of a pool's workers has changed, or of those being recycled.
local function touch_policy(browser, minor)
  touched_in(browser, minor).is_to_adapt = true
end

-- Asks for a look at the ends of a pool's workers.
local function touch_ends(browser, minor)
  touched_in(browser, minor).is_to_look = true
end

-- Says that somebody waits for a pool who may be served at once.
local function touch_queue(browser, minor)
  touched_in(browser, minor)
end

-- Does the first four steps for a pool, until nothing of it is touched.
local function arrange(pool)
  while true do
    local worker = take(pool.workers)
    local appliance = not worker and take(pool.teams)
    if worker then
      pools.place(worker)
    elseif appliance then
      workers.fill(pool.browser, pool.minor, appliance)
    elseif pool.is_to_adapt then
      pool.is_to_adapt = false
      pools.update_policy(pool.browser, pool.minor)
    elseif pool.is_to_look then
      pool.is_to_look = false
      recycling.keep_ends_apart(pool.browser, pool.minor)
    else
      return
    end
  end
end

-- Arranges a pool if something of it is touched.
local function arrange_if_touched(browser, minor)
  local pool = touched[1] and touched[browser .. ':' .. minor]
  if pool then arrange(pool) end
end

-- Does all that follows from what is touched.
local function settle()
  local at = 1
  while touched[at] do
    local pool = touched[at]
    repeat arrange(pool) until not queue.serve_next(pool.browser, pool.minor)
    at = at + 1
  end
  touched = {}
end

-- Does something and what follows from it. Returns whether that succeeded, and else the error; then nothing of it is
-- left to follow.
local function attempt(step, ...)
  local succeeded, problem = pcall(function(...)
    step(...)
    settle()
  end, ...)
  touched = {}
  return succeeded, problem
end

-- Makes a function of the library out of a body. The body is given its argument as a table, and as it came; it returns
-- its answer as a table, or as a function that gives it once all is settled.
local function register(name, body)
  redis.register_function(name .. '_@HASH@', function(keys, args)
    NS, touched = keys[1], {}  -- a call that failed leaves nothing behind
    NOW = tell_time()
    local answer = body(cjson.decode(args[1]), args[1])
    settle()
    return cjson.encode(type(answer) == 'function' and answer() or answer)
  end)
end
