-- Why workers do not start: the last failure of each slot, until a worker of it registers, or for a while.

-- report_failure {appliance, slot, browser, reason, ttl_ms} -> {}
-- Notes that a worker of this slot failed before it could serve, or soon after.
register('report_failure', function(a)
  local failures = key('failures')
  local failure = {appliance = a.appliance, slot = a.slot, browser = a.browser, reason = a.reason, until_ms = NOW + a.ttl_ms}
  redis.call('HSET', failures, a.appliance .. '/' .. a.slot, cjson.encode(failure))
  if redis.call('PTTL', failures) < a.ttl_ms then redis.call('PEXPIRE', failures, a.ttl_ms) end
  return {}
end)

local function forget_failure(appliance, slot)
  redis.call('HDEL', key('failures'), appliance .. '/' .. slot)
end
