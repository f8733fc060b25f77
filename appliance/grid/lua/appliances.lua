-- Appliances: what each says of itself, and whether it is drained.
--
-- The workers of a drained appliance drain, and those that come in their place stand by: its teams have the
-- target 0 (workers.lua). It offers no browser: a client of a version that only it serves is refused, not kept waiting.
--
-- `run` tells one start of an appliance from the next, and `turn` counts the beginnings and ends of its drains. While a
-- run is known here, what is here says whether it is drained. Of one that is new, or that Redis has forgotten, the
-- appliance's own memory says it (appliance/machine/record.py), which comes with each announcement and each registration; also
-- if it has heard of a later turn: then Redis came back with older data.

-- Tells whether an appliance is drained.
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

-- Returns the pools ("browser minor") that others than the drained ones serve, or are about to.
local function pools_offered()
  local offered = {}
  for _, id in ipairs(redis.call('ZRANGE', key('workers'), 0, -1)) do
    local worker = read_fields(key('worker', id), {'appliance', 'browser', 'minor', 'fresh_until'})
    if worker and workers.is_fresh(worker) and not appliances.is_drained(worker.appliance) then
      offered[worker.browser .. ' ' .. worker.minor] = true
    end
  end
  for _, name in ipairs(redis.call('ZRANGE', key('appliances'), whole(NOW), '+inf', 'BYSCORE')) do
    local record = read_fields(key('appliance', name), {'minor', 'pools'})
    for browser, count in pairs(record and not appliances.is_drained(name) and cjson.decode(record.pools) or {}) do
      if count > 0 then offered[browser .. ' ' .. record.minor] = true end
    end
  end
  return offered
end

-- Offers no longer what only a drained appliance served.
local function withdraw_offers(appliance, served)
  local offered = pools_offered()
  local function withdraw(browser, minor)
    if not offered[browser .. ' ' .. minor] then redis.call('ZREM', key('offers', browser), minor) end
  end
  for _, worker in ipairs(served) do withdraw(worker.browser, worker.minor) end
  local record = read_fields(key('appliance', appliance), {'minor', 'pools'})
  for browser in pairs(record and cjson.decode(record.pools) or {}) do withdraw(browser, record.minor) end
end

local function start_drain(appliance, reason)
  redis.call('ZADD', key('drained'), NOW, appliance)
  redis.call('HINCRBY', key('appliance', appliance), 'turn', '1')
  record('appliance.drained', 'appliance', appliance, 'reason', reason)
  local served = workers_of(appliance)
  for _, worker in ipairs(served) do
    if worker.status == 'available' then workers.turn(worker, 'draining', reason) else workers.enlist(worker) end
  end
  withdraw_offers(appliance, served)
  tell_proxies_of(appliance)
end

local function end_drain(appliance)
  redis.call('ZREM', key('drained'), appliance)
  redis.call('HINCRBY', key('appliance', appliance), 'turn', '1')
  redis.call('HDEL', key('appliance', appliance), 'drain_reason')
  record('appliance.undrained', 'appliance', appliance)
  for _, worker in ipairs(workers_of(appliance)) do workers.enlist(worker) end
  tell_proxies_of(appliance)
end

-- Takes over what an appliance remembers of its drain, if nothing is known of this run of it, or not its last turn.
function appliances.recall(appliance, run, is_to_be_drained, turn)
  local name = key('appliance', appliance)
  local known = read_fields(name, {'run', 'turn'})
  local is_known = known and known.run == run and tonumber(known.turn or 0) >= turn
  local is_lost = is_known and tonumber(known.turn) == turn and appliances.is_drained(appliance) ~= is_to_be_drained
  if is_known and not is_lost then return end
  redis.call('DEL', name)
  redis.call('HSET', name, 'run', run, 'since', whole(NOW))
  if is_to_be_drained and not appliances.is_drained(appliance) then
    start_drain(appliance, 'its appliance is drained')
  elseif appliances.is_drained(appliance) and not is_to_be_drained then
    end_drain(appliance)
  end
  redis.call('HSET', name, 'turn', whole(turn))
end

-- Returns where another run is that goes by an appliance's name, and whose proxy lives, or "".
local function find_rival(a)
  local known = read_fields(key('appliance', a.appliance), {'run', 'proxy', 'endpoint', 'address'})
  if not known or not known.proxy or known.proxy == a.proxy or known.run == a.run then return '' end
  local is_alive = tonumber(redis.call('ZSCORE', key('proxies'), known.proxy) or 0) >= NOW
  return is_alive and known.endpoint .. ' at ' .. known.address or ''
end

-- announce {appliance, run, drained, turn, stopping, proxy, endpoint, address, port, certificate, version, minor, pools,
--           relayed, admits, serves_redis, rival, settle_ms, ttl_ms} -> {drained, turn, others, rival}
-- Says what an appliance is: how many sessions its proxy has (`relayed`, the waiting ones too), whether it still
-- `admits` further ones, whether this Redis runs on it, and which browsers it is configured to serve. So a client may
-- wait for a worker that is only just starting, and is refused at once where none will ever be.
--
-- Returns whether it is to be drained and since which `turn`, of which it has `heard` then, how many `others` serve, and
-- where a `rival` is: another run of this name, whose proxy lives. A rival that it was told of twice it says itself,
-- for the two overwrite each other's record. `settle_ms` is how long it takes until all sessions are known again that
-- Redis may have forgotten.
register('announce', function(a)
  local rival = find_rival(a)
  appliances.recall(a.appliance, a.run, a.drained, a.turn)
  local drained = appliances.is_drained(a.appliance)
  local turn = tonumber(redis.call('HGET', key('appliance', a.appliance), 'turn') or 0)
  redis.call('ZADD', key('appliances'), 'GT', whole(NOW + a.ttl_ms), a.appliance)
  redis.call('HSET', key('appliance', a.appliance), 'proxy', a.proxy, 'endpoint', a.endpoint, 'address', a.address,
    'port', whole(a.port), 'certificate', a.certificate, 'version', a.version, 'minor', a.minor, 'pools', cjson.encode(a.pools), 'relayed', whole(a.relayed),
    'admits', a.admits and '1' or '0', 'heard', whole(turn), 'settle_ms', whole(a.settle_ms),
    'serves_redis', a.serves_redis and '1' or '0', 'rival', a.rival)
  if a.stopping and not drained then
    redis.call('ZADD', key('stopping'), whole(NOW + a.ttl_ms), a.appliance)
  else
    redis.call('ZREM', key('stopping'), a.appliance)
  end
  local is_leaving = drained or a.stopping
  for browser, count in pairs(a.pools) do
    if count > 0 and not is_leaving then pools.offer(browser, a.minor, NOW + a.ttl_ms) end
  end
  local leaving = redis.call('ZCARD', key('drained')) + redis.call('ZCARD', key('stopping'))
  local others = redis.call('ZCOUNT', key('appliances'), whole(NOW), '+inf') - leaving - (is_leaving and 0 or 1)
  return {drained = drained, turn = turn, others = math.max(0, others), rival = rival}
end)

-- rival_of {appliance, run} -> {rival}
-- Returns where another appliance is that goes by the name of this one, whichever of the two spoke last, or "".
register('rival_of', function(a)
  local known = read_fields(key('appliance', a.appliance), {'run', 'rival'})
  return {rival = known and known.run == a.run and known.rival or find_rival(a)}
end)

-- workers_on {appliance, most} -> {workers}
-- Returns workers of an appliance whose heartbeats come, `most` at most: those that were heard last.
register('workers_on', function(a)
  local found = {}
  for _, id in ipairs(redis.call('ZRANGE', key('workers'), '+inf', whole(NOW), 'BYSCORE', 'REV')) do
    if redis.call('HGET', key('worker', id), 'appliance') == a.appliance then found[#found + 1] = id end
    if #found == a.most then break end
  end
  return {workers = found}
end)

-- drain_appliance {appliance, reason} -> {known}
-- No new sessions for this appliance's workers; its proxies are told to leave their load balancer. Of several drains
-- the last one's reason holds.
register('drain_appliance', function(a)
  if redis.call('EXISTS', key('appliance', a.appliance)) == 0 then return {known = false} end
  if not appliances.is_drained(a.appliance) then start_drain(a.appliance, a.reason) end
  redis.call('HSET', key('appliance', a.appliance), 'drain_reason', a.reason)
  return {known = true}
end)

-- undrain_appliance {appliance, reason} -> {known}
-- Lets a drained appliance serve again, with its workers that stand by and those that are yet to come back. If a
-- reason is given, only a drain for that reason ends.
register('undrain_appliance', function(a)
  if redis.call('EXISTS', key('appliance', a.appliance)) == 0 then return {known = false} end
  local is_meant = a.reason == '' or redis.call('HGET', key('appliance', a.appliance), 'drain_reason') == a.reason
  if appliances.is_drained(a.appliance) and is_meant then end_drain(a.appliance) end
  return {known = true}
end)

-- Forgets the appliances of which neither a proxy nor a worker was heard any more. Should one come back, it remembers
-- by itself whether it was drained.
function appliances.forget()
  redis.call('ZREMRANGEBYSCORE', key('stopping'), '-inf', '(' .. whole(NOW))
  for _, name in ipairs(redis.call('ZRANGE', key('appliances'), '-inf', '(' .. whole(NOW), 'BYSCORE')) do
    for _, kind in ipairs({'appliances', 'drained', 'stopping'}) do redis.call('ZREM', key(kind), name) end
    redis.call('DEL', key('appliance', name))
  end
end
