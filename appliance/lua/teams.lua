-- Teams: the workers of one pool on one appliance. `target` of them serve, the others stand by with a
-- warm browser. When one of them leaves, for whatever reason, the spare that started first takes its
-- place in the same step, so that recycling costs no capacity. Of a drained appliance (appliances.lua) none serves, and
-- who leaves is not awaited.

local RETURN_MS = 30000  -- a worker that is not back by then is not coming

local function team(kind, worker)
  return key(kind, worker.browser, worker.minor, worker.appliance)
end

local function slot_of(worker)
  return worker.appliance .. '/' .. worker.slot
end

local function is_drained(appliance)
  return redis.call('ZSCORE', key('drained'), appliance) and true or false
end

-- How many workers of a team are to serve.
local function target_of(worker)
  return is_drained(worker.appliance) and 0 or tonumber(worker.target)
end

-- Notes until when a worker's slot counts as being recycled: while it drains, and for a while after it is gone, unless
-- the slot has another already. `before` is the status that it had.
local function mark_recycling(worker, before)
  local recycling, slot, until_ms = key('recycling', worker.browser, worker.minor), slot_of(worker), nil
  if worker.status == 'draining' then until_ms = NOW + worker.ttl end
  if worker.status == 'gone' then
    local is_awaited = tonumber(redis.call('ZSCORE', recycling, slot) or 0) >= NOW
    if before == 'draining' and not is_awaited then return end
    until_ms = NOW + RETURN_MS
  end
  if until_ms and not is_drained(worker.appliance) then
    redis.call('ZADD', recycling, until_ms, slot)
  elseif redis.call('ZREM', recycling, slot) == 0 then
    return
  end
  touch_policy(worker.browser, worker.minor)
end

-- Says with a worker's voice how large its team is, that its appliance is there, and what is offered; of a drained one
-- the latter alone, for it may never come back.
local function speak_for(worker)
  local teams, until_ms = key('teams', worker.browser, worker.minor), whole(worker.fresh_until)
  redis.call('ZADD', key('workers'), until_ms, worker.id)
  redis.call('ZADD', key('appliances'), 'GT', until_ms, worker.appliance)
  if is_drained(worker.appliance) then return redis.call('HDEL', teams, worker.appliance) end
  redis.call('HSET', teams, worker.appliance, whole(worker.target) .. ' ' .. whole(worker.spares))
  offer(worker.browser, worker.minor, worker.fresh_until)
end

-- Puts a worker into the lists that its status asks for, and takes it out of all others: one whose record was lost may
-- have had another status there. Each heartbeat does so, and mends what Redis lost.
local function enlist(worker, before)
  redis.call(worker.status == 'available' and 'SADD' or 'SREM', team('serving', worker), worker.id)
  if worker.status == 'standby' then
    redis.call('ZADD', team('standby', worker), worker.started, worker.id)
  else
    redis.call('ZREM', team('standby', worker), worker.id)
  end
  if worker.status ~= 'available' then leave_pool(worker.browser, worker.minor, worker.id) end
  mark_recycling(worker, before)
  if worker.status == 'gone' then redis.call('ZREM', key('workers'), worker.id) else speak_for(worker) end
  touch(worker)
  touch_team(worker)
end

-- Which statuses a worker may turn to from each. Nothing leads back: a worker that was away registers as a new one.
local TURNS = {
  new = {standby = true, available = true, draining = true},
  standby = {available = true, draining = true, gone = true},
  available = {draining = true, gone = true},
  draining = {gone = true},
}

-- Changes a worker's status, records that, and tells it of a drain. Nothing else may. `worker` is its whole record, whose
-- status is nil if it is new; `reason` is for those that drain or are gone.
local function turn(worker, status, reason)
  local before, name = worker.status or 'new', key('worker', worker.id)
  assert(TURNS[before][status], string.format('worker %s cannot turn from %s to %s', worker.id, before, status))
  worker.status = status
  if status == 'gone' then redis.call('DEL', name) else redis.call('HSET', name, 'status', status) end
  if before == 'new' then
    record('worker.started', 'worker', worker.id, 'appliance', worker.appliance, 'lifetime', worker.lifetime)
  elseif status == 'available' then
    record('worker.promoted', 'worker', worker.id)
  elseif status == 'draining' then
    redis.call('HSET', name, 'reason', reason)
    record('worker.draining', 'worker', worker.id, 'reason', reason)
    tell('worker', worker.id, {drain = reason})
  else
    record('worker.ended', 'worker', worker.id, 'lifetime', worker.lifetime, 'reason', reason)
  end
  enlist(worker, before)
end

-- Lets spares serve until a team has as many workers that do as its size says.
function fill(browser, minor, appliance)
  local size = redis.call('HGET', key('teams', browser, minor), appliance)
  local target = tonumber((size or '0'):match('^%d+'))
  while redis.call('SCARD', key('serving', browser, minor, appliance)) < target do
    local id = redis.call('ZPOPMIN', key('standby', browser, minor, appliance))[1]
    if not id then return end
    local spare = read(key('worker', id))
    if spare and spare.status == 'standby' and is_fresh(spare) then turn(spare, 'available') end
  end
end

-- Takes a worker whose record is lost out of a team.
local function forget_member(member)
  local left = redis.call('SREM', team('serving', member), member.id)
  if left + redis.call('ZREM', team('standby', member), member.id) > 0 then touch_team(member) end
end
