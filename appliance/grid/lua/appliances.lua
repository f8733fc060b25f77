-- Appliances: what each announces, and whether it is drained.
--
-- The workers of a drained appliance drain, and their successors stand by: its teams have the target 0 (workers.lua).
-- It offers no browser: a client of a version that only this appliance serves is refused instead of queued.
--
-- `run` tells one start of an appliance from the next, and `epoch` counts the beginnings and ends of its drains. Redis
-- decides whether a known run is drained. For a new run, or one that Redis has lost, the appliance's own record decides
-- (appliance/machine/record.py); it comes with each announcement and registration. It also decides if it has heard of a
-- later epoch: then Redis came back with older data.

-- Returns whether an appliance is drained.
function appliances.is_drained(appliance)
  return redis.call('ZSCORE', key('drained'), appliance) and true or false
end

local function workers_of(appliance)
  local found = {}
  for _, id in ipairs(redis.call('ZRANGE', key('workers'), 0, -1)) do
    if redis.call('HGET', key('worker', id), 'appliance') == appliance then found[#found + 1] = workers.read(id) end
  end
  return found
end

local function tell_proxies_of(appliance)
  for _, proxy in ipairs(redis.call('ZRANGE', key('proxies'), 0, -1)) do
    if proxy:match('^(.*)%.') == appliance then tell('proxy', proxy, {appliance = true}) end
  end
end

-- Returns the pools ("browser minor") that appliances which are not drained serve, or are about to serve.
local function pools_offered()
  local offered = {}
  for _, id in ipairs(redis.call('ZRANGE', key('workers'), 0, -1)) do
    local worker = read_fields(key('worker', id), {'appliance', 'browser', 'minor', 'fresh_until', 'target'})
    local serves = worker and tonumber(worker.target) > 0 and workers.is_fresh(worker)
    if serves and not appliances.is_drained(worker.appliance) then
      offered[worker.browser .. ' ' .. worker.minor] = true
    end
  end
  for _, name in ipairs(redis.call('ZRANGE', key('appliances'), whole(NOW), '+inf', 'BYSCORE')) do
    local record = read_fields(key('appliance', name), {'pools'})
    for pool, count in pairs(record and not appliances.is_drained(name) and cjson.decode(record.pools) or {}) do
      if count > 0 then offered[pool] = true end
    end
  end
  return offered
end

-- Returns the browser and the minor of a pool that is written as above.
local function browser_and_minor(pool)
  return pool:match('^(%S+) (%S+)$')
end

-- Withdraws the offers that only a drained appliance made.
local function withdraw_offers(appliance, served)
  local offered = pools_offered()
  local function withdraw(browser, minor)
    if not offered[browser .. ' ' .. minor] then redis.call('ZREM', key('offers', browser), minor) end
  end
  for _, worker in ipairs(served) do withdraw(worker.browser, worker.minor) end
  local record = read_fields(key('appliance', appliance), {'pools'})
  for pool in pairs(record and cjson.decode(record.pools) or {}) do withdraw(browser_and_minor(pool)) end
end

local function start_drain(appliance, reason)
  redis.call('ZADD', key('drained'), NOW, appliance)
  redis.call('HINCRBY', key('appliance', appliance), 'epoch', '1')
  record('appliance.drained', 'appliance', appliance, 'reason', reason)
  local served = workers_of(appliance)
  for _, worker in ipairs(served) do
    if worker.status == 'available' then workers.turn(worker, 'draining', reason, 'appliance') else workers.enlist(worker) end
  end
  withdraw_offers(appliance, served)
  tell_proxies_of(appliance)
end

local function end_drain(appliance)
  redis.call('ZREM', key('drained'), appliance)
  redis.call('HINCRBY', key('appliance', appliance), 'epoch', '1')
  redis.call('HDEL', key('appliance', appliance), 'drain_reason')
  record('appliance.undrained', 'appliance', appliance)
  for _, worker in ipairs(workers_of(appliance)) do workers.enlist(worker) end
  tell_proxies_of(appliance)
end

-- Adopts what an appliance's record says of its drain, if Redis does not know this run of it, or not its last epoch.
function appliances.recall(appliance, run, is_to_be_drained, epoch)
  local name = key('appliance', appliance)
  local known = read_fields(name, {'run', 'epoch'})
  local is_known = known and known.run == run and tonumber(known.epoch or 0) >= epoch
  local is_lost = is_known and tonumber(known.epoch) == epoch and appliances.is_drained(appliance) ~= is_to_be_drained
  if is_known and not is_lost then return end
  redis.call('DEL', name)
  redis.call('HSET', name, 'run', run, 'since', whole(NOW))
  if is_to_be_drained and not appliances.is_drained(appliance) then
    start_drain(appliance, 'its appliance is drained')
  elseif appliances.is_drained(appliance) and not is_to_be_drained then
    end_drain(appliance)
  end
  redis.call('HSET', name, 'epoch', whole(epoch))
end

-- Returns where another run of an appliance's name is, whose proxy lives, or "".
local function find_rival(a)
  local known = read_fields(key('appliance', a.appliance), {'run', 'proxy', 'endpoint', 'address'})
  if not known or not known.proxy or known.proxy == a.proxy or known.run == a.run then return '' end
  local is_alive = tonumber(redis.call('ZSCORE', key('proxies'), known.proxy) or 0) >= NOW
  return is_alive and known.endpoint .. ' at ' .. known.address or ''
end

-- announce {appliance, run, drained, epoch, stopping, proxy, endpoint, address, port, certificate, version, pools,
--           relayed, admits, serves_redis, rival, settle_ms, ttl_ms} -> {drained, epoch, others, rival}
-- Records what an appliance says of itself: how many sessions its proxy has (`relayed`, the waiting ones too), whether
-- it still `admits` new ones, whether this Redis runs on it, and which `pools` it is configured to have: the number of
-- workers by "browser minor". So a client may wait for a worker that is only starting, and is refused at once where
-- there will be none.
--
-- Returns whether it is drained, its `epoch`, which it has `heard` from then on, how many `others` serve, and where a
-- `rival` is: another run of this name, whose proxy lives. An appliance that was told of a rival twice announces it
-- itself, for the two overwrite each other's record. `settle_ms` is how long it takes to restore all sessions that
-- Redis may have lost.
register('announce', function(a)
  local rival = find_rival(a)
  appliances.recall(a.appliance, a.run, a.drained, a.epoch)
  local drained = appliances.is_drained(a.appliance)
  local epoch = tonumber(redis.call('HGET', key('appliance', a.appliance), 'epoch') or 0)
  redis.call('ZADD', key('appliances'), 'GT', whole(NOW + a.ttl_ms), a.appliance)
  redis.call('HSET', key('appliance', a.appliance), 'proxy', a.proxy, 'endpoint', a.endpoint, 'address', a.address,
    'port', whole(a.port), 'certificate', a.certificate, 'version', a.version, 'pools', cjson.encode(a.pools), 'relayed', whole(a.relayed),
    'admits', a.admits and '1' or '0', 'heard', whole(epoch), 'settle_ms', whole(a.settle_ms),
    'serves_redis', a.serves_redis and '1' or '0', 'rival', a.rival)
  if a.stopping and not drained then
    redis.call('ZADD', key('stopping'), whole(NOW + a.ttl_ms), a.appliance)
  else
    redis.call('ZREM', key('stopping'), a.appliance)
  end
  local is_leaving = drained or a.stopping
  for pool, count in pairs(a.pools) do
    local browser, minor = browser_and_minor(pool)
    if count > 0 and not is_leaving then pools.offer(browser, minor, NOW + a.ttl_ms) end
  end
  local leaving = redis.call('ZCARD', key('drained')) + redis.call('ZCARD', key('stopping'))
  local others = redis.call('ZCOUNT', key('appliances'), whole(NOW), '+inf') - leaving - (is_leaving and 0 or 1)
  return {drained = drained, epoch = epoch, others = math.max(0, others), rival = rival}
end)

-- rival_of {appliance, run} -> {rival}
-- Returns where another appliance of this name is, whichever of the two announced itself last, or "".
register('rival_of', function(a)
  local known = read_fields(key('appliance', a.appliance), {'run', 'rival'})
  return {rival = known and known.run == a.run and known.rival or find_rival(a)}
end)

-- workers_on {appliance, most} -> {workers}
-- Returns up to `most` workers of an appliance, those with the latest heartbeats.
register('workers_on', function(a)
  local found = {}
  for _, id in ipairs(redis.call('ZRANGE', key('workers'), '+inf', whole(NOW), 'BYSCORE', 'REV')) do
    if redis.call('HGET', key('worker', id), 'appliance') == a.appliance then found[#found + 1] = id end
    if #found == a.most then break end
  end
  return {workers = found}
end)

-- drain_appliance {appliance, reason} -> {known}
-- Drains an appliance: its workers get no new sessions, and its proxy leaves its load balancer. If it is drained
-- already, the reason is replaced.
register('drain_appliance', function(a)
  if redis.call('EXISTS', key('appliance', a.appliance)) == 0 then return {known = false} end
  if not appliances.is_drained(a.appliance) then start_drain(a.appliance, a.reason) end
  redis.call('HSET', key('appliance', a.appliance), 'drain_reason', a.reason)
  return {known = true}
end)

-- undrain_appliance {appliance, reason} -> {known}
-- Ends the drain of an appliance: its spares serve, and so do the workers that come later. If a reason is given, only a
-- drain for that reason ends.
register('undrain_appliance', function(a)
  if redis.call('EXISTS', key('appliance', a.appliance)) == 0 then return {known = false} end
  local is_meant = a.reason == '' or redis.call('HGET', key('appliance', a.appliance), 'drain_reason') == a.reason
  if appliances.is_drained(a.appliance) and is_meant then end_drain(a.appliance) end
  return {known = true}
end)

-- Removes a pool from what an appliance has announced, and its offer if nobody else makes it.
local function stop_offering(appliance, browser, minor)
  local record = read_fields(key('appliance', appliance), {'pools'})
  local announced, pool = record and cjson.decode(record.pools) or {}, browser .. ' ' .. minor
  if announced[pool] then
    announced[pool] = nil
    redis.call('HSET', key('appliance', appliance), 'pools', cjson.encode(announced))
  end
  if not pools_offered()[pool] then redis.call('ZREM', key('offers', browser), minor) end
end

-- resize_team {appliance, browser, minor, target, spares} -> {}
-- Sets how many workers of a team serve and how many stand by; with the target 0 it is dissolved, and its pool is not
-- offered any more. Which workers leave, whoever changes the size decides, and drains them. The appliance's proxies are
-- told to announce it again.
register('resize_team', function(a)
  for _, worker in ipairs(workers_of(a.appliance)) do
    if worker.browser == a.browser and worker.minor == a.minor then
      worker.target, worker.spares = a.target, a.spares
      redis.call('HSET', key('worker', worker.id), 'target', whole(a.target), 'spares', whole(a.spares))
      workers.enlist(worker)
    end
  end
  if a.target == 0 then stop_offering(a.appliance, a.browser, a.minor) end
  tell_proxies_of(a.appliance)
  return {}
end)

-- Forgets the appliances whose proxy and workers have fallen silent. One that comes back has a record of its drain.
function appliances.forget()
  redis.call('ZREMRANGEBYSCORE', key('stopping'), '-inf', '(' .. whole(NOW))
  for _, name in ipairs(redis.call('ZRANGE', key('appliances'), '-inf', '(' .. whole(NOW), 'BYSCORE')) do
    for _, kind in ipairs({'appliances', 'drained', 'stopping'}) do redis.call('ZREM', key(kind), name) end
    redis.call('DEL', key('appliance', name))
  end
end
