-- Wishes: pools that clients want and nobody has, and which appliance gets them: take_wish, report_wish.
--
-- A session whose version nobody serves waits, if an appliance can get the driver: a provider. The wish is one record for
-- all sessions that want the same. One provider at a time holds a wish, and reports on it while it works; beside it,
-- others hold only wishes whose drivers they have. If a provider falls silent, another one takes its wish. If it fails,
-- the other providers try, each once; a wish that all have failed is refused until `retry_at`, longer each time, and then
-- it may be made again. A wish is forgotten when it is fulfilled, or when nobody waits for it any more.

local RENEWED_FOR_MS = 30000  -- each poll of a session that waits renews its wish
local FIRST_PAUSE_MS, LONGEST_PAUSE_MS = 10000, 600000

local function name_of(session)
  return session.browser .. ' ' .. session.minor
end

local function is_provided(minor)
  return redis.call('ZCOUNT', key('providers', minor), whole(NOW), '+inf') > 0
end

local function has_failed(wish, appliance)
  return wish.failed_by ~= nil and wish.failed_by:find(' ' .. appliance .. ' ', 1, true) ~= nil
end

-- Returns the providers of a version that have not failed a wish of it.
local function providers_left(minor, wish)
  local left = {}
  for _, appliance in ipairs(redis.call('ZRANGE', key('providers', minor), whole(NOW), '+inf', 'BYSCORE')) do
    if not has_failed(wish, appliance) then left[#left + 1] = appliance end
  end
  return left
end

local function tell_providers(minor, appliances)
  for _, appliance in ipairs(appliances) do tell('pools', appliance, {wanted = minor}) end
end

local function forget(browser, minor)
  redis.call('DEL', key('wanted', browser, minor))
  redis.call('ZREM', key('wanted'), browser .. ' ' .. minor)
end

-- Makes or renews a session's wish. Returns whether the session may wait for it.
function wishes.make(session)
  if not session.may_wish or session.minor == '' or not is_provided(session.minor) then return false end
  local name = key('wanted', session.browser, session.minor)
  local wish = read_fields(name, {'status', 'retry_at'})
  if wish and wish.status == 'failed' and tonumber(wish.retry_at) > NOW then return false end
  if not wish or wish.status == 'failed' then
    redis.call('HSET', name, 'status', 'open', 'progress', 'no worker served this version: one is being started')
    tell_providers(session.minor, providers_left(session.minor, {}))
  end
  redis.call('HSET', name, 'wanted_until', whole(NOW + RENEWED_FOR_MS))
  redis.call('PEXPIRE', name, 2 * LONGEST_PAUSE_MS)
  redis.call('ZADD', key('wanted'), 'NX', whole(NOW), name_of(session))
  return true
end

-- Returns how far a session's wish is, in words, or nil.
function wishes.progress(session)
  return redis.call('HGET', key('wanted', session.browser, session.minor), 'progress') or nil
end

-- Returns why a session's wish has failed, or why nobody can provide its version; nil if there is nothing to say.
function wishes.failure(session)
  if not session.may_wish or session.minor == '' then return nil end
  local lacking = not is_provided(session.minor) and redis.call('GET', key('lacking', session.minor))
  return lacking or redis.call('HGET', key('wanted', session.browser, session.minor), 'failure') or nil
end

-- Returns the versions of a browser that sessions wait for and nobody serves.
function wishes.minors(browser)
  local minors = {}
  for _, wanted in ipairs(redis.call('ZRANGE', key('wanted'), 0, -1)) do
    local wanted_browser, minor = wanted:match('^(%S+) (%S+)$')
    if wanted_browser == browser and not pools.is_offered(browser, minor) then minors[#minors + 1] = minor end
  end
  return minors
end

local function offer_to_provide(a)
  local is_drained = appliances.is_drained(a.appliance)
  for _, minor in ipairs(a.minors) do
    if is_drained then
      redis.call('ZREM', key('providers', minor), a.appliance)
    else
      redis.call('ZADD', key('providers', minor), whole(NOW + a.ttl_ms), a.appliance)
      redis.call('PEXPIRE', key('providers', minor), a.ttl_ms)
    end
  end
  for minor, reason in pairs(a.lacking) do
    redis.call('ZREM', key('providers', minor), a.appliance)
    redis.call('SET', key('lacking', minor), reason, 'PX', a.ttl_ms)
  end
  return not is_drained
end

local function has(minors, minor)
  for _, one in ipairs(minors) do
    if one == minor then return true end
  end
  return false
end

-- Returns whether a provider may take a wish. One that has failed it leaves it to the others, while there are any.
local function may_take(a, minor, wish)
  return has(a.minors, minor) and (not has_failed(wish, a.appliance) or #providers_left(minor, wish) == 0)
end

-- Returns the wish that a provider may work on, or nil: its own, or the oldest. While another one is at work, the oldest
-- whose driver is there: a slow fetch delays no other version that is there already.
local function next_wish(a)
  local oldest, oldest_there, is_another_at_work
  for _, wanted in ipairs(redis.call('ZRANGE', key('wanted'), 0, -1)) do
    local browser, minor = wanted:match('^(%S+) (%S+)$')
    local wish = read_fields(key('wanted', browser, minor), {'status', 'wanted_until', 'by', 'held_until', 'failed_by'})
    local is_held = wish and wish.status == 'held' and tonumber(wish.held_until) >= NOW
    if not wish or wish.status == 'failed' or not is_held and tonumber(wish.wanted_until or 0) < NOW then
      if not wish or wish.status ~= 'failed' then forget(browser, minor) else redis.call('ZREM', key('wanted'), wanted) end
    elseif is_held and wish.by == a.appliance then
      return {browser = browser, minor = minor}
    elseif is_held then
      is_another_at_work = true
    elseif may_take(a, minor, wish) then
      local found = {browser = browser, minor = minor}
      oldest = oldest or found
      oldest_there = oldest_there or has(a.there, minor) and found
    end
  end
  return not is_another_at_work and oldest or oldest_there
end

-- take_wish {appliance, minors, there, lacking, ttl_ms, hold_ms} -> {browser, minor} | {none}
-- Says for `ttl_ms` that an appliance can get the drivers of these minors, and why not those of others: `lacking` is the
-- reason by minor. The drivers of `there` need not be fetched. Returns a wish that it now holds for `hold_ms`, or until it
-- reports; the same one if it holds one already.
register('take_wish', function(a)
  if not offer_to_provide(a) then return {none = true} end
  local wish = next_wish(a)
  if not wish then return {none = true} end
  redis.call('HSET', key('wanted', wish.browser, wish.minor), 'status', 'held', 'by', a.appliance,
    'held_until', whole(NOW + a.hold_ms))
  return wish
end)

-- Wakes the sessions that wait for a wish: their proxies claim again, and are told of its end.
local function wake(browser, minor)
  for _, id in ipairs(redis.call('ZRANGE', key('queue', browser, minor), 0, -1)) do
    local proxy = redis.call('HGET', key('session', id), 'proxy')
    if proxy then tell('proxy', proxy, {granted = id}) end
  end
end

-- Refuses a wish that no provider is left for. If one of them was full, the pause is the first one.
local function refuse(a, name, wish)
  local failures = (a.status == 'full' or wish.was_full) and 0 or tonumber(wish.failures or 0)
  local pause = math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ^ failures)
  redis.call('HSET', name, 'status', 'failed', 'failure', a.text, 'failures', failures + 1, 'retry_at', whole(NOW + pause))
  redis.call('HDEL', name, 'failed_by', 'was_full')
  redis.call('PEXPIRE', name, 2 * LONGEST_PAUSE_MS)
  redis.call('ZREM', key('wanted'), a.browser .. ' ' .. a.minor)
  wake(a.browser, a.minor)
end

-- report_wish {appliance, browser, minor, status, text, hold_ms} -> {held}
-- `status` is "held", with what is being done as `text`; "failed" or "full", with the reason; or "done". After a failure
-- the wish is open to the other providers, or is refused if they have all failed. What is full may have room soon: each
-- pause after it is the first one. Returns whether the appliance still held the wish; if not, nothing changes.
register('report_wish', function(a)
  local name = key('wanted', a.browser, a.minor)
  local wish = read_fields(name, {'status', 'by', 'failures', 'failed_by', 'was_full'})
  if not wish or wish.status ~= 'held' or wish.by ~= a.appliance then return {held = false} end
  if a.status == 'held' then
    redis.call('HSET', name, 'progress', a.text, 'held_until', whole(NOW + a.hold_ms))
  elseif a.status == 'done' then
    forget(a.browser, a.minor)
  else
    record('pool.failed', 'browser', a.browser, 'version', a.minor, 'appliance', a.appliance, 'reason', a.text)
    wish.failed_by = (wish.failed_by or ' ') .. a.appliance .. ' '
    local left = providers_left(a.minor, wish)
    if #left == 0 then
      refuse(a, name, wish)
    else
      redis.call('HSET', name, 'status', 'open', 'failed_by', wish.failed_by,
        'progress', 'an appliance could not start a worker: another one tries')
      if a.status == 'full' then redis.call('HSET', name, 'was_full', 1) end
      tell_providers(a.minor, left)
    end
  end
  return {held = true}
end)
