-- The door: every call of the library enters here, and what follows from its changes is done here.
--
-- A function changes records and marks what it changed, with `touch` and the like. It never places a worker, promotes a
-- spare or hands out a slot. `settle` does that when the function is done. The first four steps (`arrange`) also run
-- before each choice of a worker, so that it sees the changes made before it.
--
--  1. Place   each touched worker in its pool, by what is left of it; one that drains is told when it is idle.
--  2. Fill    each touched team: a spare replaces a worker that has left.
--  3. Adapt   the policy of the pool, if its workers or those being recycled have changed.
--  4. Look    whether the ends of the pool's workers are apart, if that was asked for.
--  5. Hand    the pool's next free slot to the session that has waited longest for it.
--
-- A step may touch again. So they repeat from the first, until nothing is touched and no session can be served. No step
-- reaches beyond its pool. Lists keep what is touched, so that the same calls always lead to the same state.

local notes = {}    -- what is touched of each pool, by browser and minor; kept, for new tables cost as much as settling
local touched = {}  -- the notes of the touched pools, in order

-- Touches a pool. Returns its notes: `workers` to place, `teams` to fill, and so on.
local function touched_in(browser, minor)
  local of_browser = notes[browser] or {}
  local pool = of_browser[minor] or {browser = browser, minor = minor, workers = {}, teams = {}}
  if not pool.is_touched then
    notes[browser], of_browser[minor], pool.is_touched = of_browser, pool, true
    touched[#touched + 1] = pool
  end
  return pool
end

-- Marks a worker that has given a slot away, which cannot serve a waiting session. `worker` is its current record.
local function touch_taken(worker)
  local list = touched_in(worker.browser, worker.minor).workers
  local at = 1
  while list[at] and list[at].id ~= worker.id do at = at + 1 end
  list[at] = worker  -- the newer record counts
end

-- Marks a worker whose place may have changed for any other reason. Does nothing for nil, a worker that is gone.
local function touch(worker)
  if not worker then return end
  touch_taken(worker)
  touched_in(worker.browser, worker.minor).is_open = true
end

-- Marks a pool for which a session waits that may be served at once.
local function touch_queue(browser, minor)
  touched_in(browser, minor).is_open = true
end

-- Marks a team that a worker has joined or left; `member` is the worker, or `{browser, minor, appliance}`.
local function touch_team(member)
  local teams = touched_in(member.browser, member.minor).teams
  if teams[#teams] ~= member.appliance then teams[#teams + 1] = member.appliance end
end

-- Marks a pool whose number of workers, or of workers being recycled, has changed.
local function touch_policy(browser, minor)
  touched_in(browser, minor).is_to_adapt = true
end

-- Asks for a look at the ends of a pool's workers.
local function touch_ends(browser, minor)
  touched_in(browser, minor).is_to_look = true
end

-- Does the first four steps for a pool, until nothing of it is touched.
local function arrange(pool)
  while true do
    if pool.workers[1] then
      pools.place(table.remove(pool.workers, 1))
    elseif pool.teams[1] then
      workers.fill(pool.browser, pool.minor, table.remove(pool.teams, 1))
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
  local pool = notes[browser] and notes[browser][minor]
  if pool and pool.is_touched then arrange(pool) end
end

-- Does all that follows from what is touched.
local function settle()
  while touched[1] do
    local pool = touched[1]
    repeat arrange(pool) until not (pool.is_open and queue.serve_next(pool.browser, pool.minor))
    pool.is_touched, pool.is_open = false, false
    table.remove(touched, 1)
  end
end

-- Forgets what is touched, after a call that has failed.
local function forget_touched()
  if touched[1] then notes, touched = {}, {} end
end

-- Runs a step and settles. Returns whether that succeeded, else also the error; then nothing stays touched.
local function attempt(step, id)
  local succeeded, problem = pcall(function()
    step(id)
    settle()
  end)
  forget_touched()
  return succeeded, problem
end

-- Registers a function of the library. The body gets its argument as a table, and as it came. It returns its answer as
-- a table, or as a function that is called once all is settled.
local function register(name, body)
  redis.register_function(name .. '_@HASH@', function(keys, args)
    forget_touched()
    NS = keys[1]
    NOW = tell_time()
    local answer = body(cjson.decode(args[1]), args[1])
    settle()
    return cjson.encode(type(answer) == 'function' and answer() or answer)
  end)
end
