-- The inner door's key, by which appliances prove to each other that they are of one grid (proxy/door/).

-- door_keys {known, fresh, rotate_ms} -> {keys}
-- Returns the key, and the previous one if there is one. If there is no key, `known` becomes it, the one that the
-- caller had before Redis lost it, or else `fresh`. `fresh` also replaces a key that is `rotate_ms` old. Proxies make
-- the keys, because Lua's random numbers can be predicted.
register('door_keys', function(a)
  local name = key('door')
  local door = read_fields(name, {'current', 'previous', 'made'})
  if not door then
    door = {current = a.known ~= '' and a.known or a.fresh}
    redis.call('HSET', name, 'current', door.current, 'made', whole(NOW))
  elseif NOW - door.made >= a.rotate_ms and door.current ~= a.fresh then
    door.current, door.previous = a.fresh, door.current
    redis.call('HSET', name, 'current', door.current, 'previous', door.previous, 'made', whole(NOW))
  end
  return {keys = {door.current, door.previous}}
end)
