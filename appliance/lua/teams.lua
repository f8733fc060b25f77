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

-- Notes how large a team is, for those who recycle; of a drained appliance nothing, for it may never come back.
local function size_team(worker)
  local teams = key('teams', worker.browser, worker.minor)
  if is_drained(worker.appliance) then return redis.call('HDEL', teams, worker.appliance) end
  redis.call('HSET', teams, worker.appliance, whole(worker.target) .. ' ' .. whole(worker.spares))
end

-- Notes until when a worker's slot counts as being recycled, or with nil that its worker is back.
local function mark_recycling(worker, until_ms)
  local recycling = key('recycling', worker.browser, worker.minor)
  if until_ms and not is_drained(worker.appliance) then
    redis.call('ZADD', recycling, until_ms, slot_of(worker))
  else
    redis.call('ZREM', recycling, slot_of(worker))
  end
  update_policy(worker.browser, worker.minor)
end

-- Which statuses a worker may turn to from each. Nothing leads back: a worker that was away registers as a new one.
local TURNS = {
  new = {standby = true, available = true, draining = true},
  standby = {available = true, draining = true, gone = true},
  available = {draining = true, gone = true},
  draining = {gone = true},
}

-- Changes a worker's status, and records that. Nothing else may. `worker` is its record, whose status is nil if it is
-- new; `reason` is for those that drain or are gone.
local function turn(worker, status, reason)
  local before = worker.status or 'new'
  assert(TURNS[before][status], string.format('worker %s cannot turn from %s to %s', worker.id, before, status))
  worker.status, worker.reason = status, reason
  if before == 'new' then
    record('worker.started', 'worker', worker.id, 'appliance', worker.appliance, 'lifetime', worker.lifetime)
  elseif status == 'available' then
    redis.call('HSET', key('worker', worker.id), 'status', status)
    record('worker.promoted', 'worker', worker.id)
  elseif status == 'draining' then
    redis.call('HSET', key('worker', worker.id), 'status', status, 'reason', reason)
    record('worker.draining', 'worker', worker.id, 'reason', reason)
  else
    record('worker.ended', 'worker', worker.id, 'lifetime', worker.lifetime, 'reason', reason)
  end
end

local function serve(worker)
  redis.call('SADD', team('serving', worker), worker.id)
  redis.call('ZREM', team('standby', worker), worker.id)
  place(worker)
end

local function promote(worker)
  while redis.call('SCARD', team('serving', worker)) < target_of(worker) do
    local id = redis.call('ZPOPMIN', team('standby', worker))[1]
    if not id then return end
    local spare = read(key('worker', id))
    if spare and spare.status == 'standby' and is_fresh(spare) then
      turn(spare, 'available')
      serve(spare)
    end
  end
end

-- Takes a worker into its team, by its status: to serve, or to stand by until it is needed. A draining
-- one is on its way out. One whose record was lost may have had another status there.
local function join(worker)
  if worker.status == 'available' then return serve(worker) end
  redis.call('SREM', team('serving', worker), worker.id)
  leave_pool(worker.browser, worker.minor, worker.id)
  if worker.status == 'standby' then
    redis.call('ZADD', team('standby', worker), worker.started, worker.id)
    promote(worker)
  else
    redis.call('ZREM', team('standby', worker), worker.id)
    mark_recycling(worker, NOW + worker.ttl)
  end
end

-- Takes a worker out of its team, where a spare takes its place.
local function leave(worker)
  redis.call('SREM', team('serving', worker), worker.id)
  redis.call('ZREM', team('standby', worker), worker.id)
  place(worker)
  promote(worker)
end

-- Takes a worker whose record is lost out of a team, where a spare takes its place.
local function forget_member(member)
  local left = redis.call('SREM', team('serving', member), member.id)
  if left + redis.call('ZREM', team('standby', member), member.id) == 0 then return end
  local size = redis.call('HGET', key('teams', member.browser, member.minor), member.appliance)
  member.target = (size or '0'):match('^%d+')
  promote(member)
end

-- Says with a worker's voice that its appliance is there, and offers what it serves unless it is drained.
local function speak_for(worker)
  redis.call('ZADD', key('appliances'), 'GT', whole(NOW + worker.ttl), worker.appliance)
  if not is_drained(worker.appliance) then offer(worker.browser, worker.minor, tonumber(worker.ttl)) end
end

-- Gives a worker no new sessions; it is told, and told again when its last session has ended. Returns it.
local function drain(id, reason)
  local worker = read(key('worker', id))
  turn(worker, 'draining', reason)
  tell('worker', id, {drain = reason})
  leave(worker)
  join(worker)
  return worker
end
