-- The grid's own time, in milliseconds. It follows the server's, but a step back counts as nothing, and a silence of
-- all callers as `longest` at most. So nothing expires by a step of the server's clock, a pause of the server or an
-- outage of the network: whoever could not renew in time still can.

local CLOCK_RESOLUTION = 100
local LONGEST_SILENCE = 5000
local STEPS, STEP = 100, '1000'  -- of a search through all keys: 100 ms at most

local function read_clock()
  return (redis.call('GET', key('clock')) or ''):match('(%d+) (%d+) (%d+)')
end

local function write_clock(seen, grid, longest)
  redis.call('SET', key('clock'), string.format('%d %d %d', seen, grid, longest))
end

-- Returns when the newest heartbeat came, for a clock that is lost; the server's time if there is none. The list of the
-- workers may be lost, too; then some of their records are looked for among all keys.
local function newest_heartbeat(wall)
  local newest = 0
  local function look_at(name)
    newest = math.max(newest, tonumber(redis.call('HGET', name, 'heartbeat') or 0))
  end
  for _, id in ipairs(redis.call('ZRANGE', key('workers'), 0, 9, 'REV')) do look_at(key('worker', id)) end
  local cursor, steps = '0', 0
  while newest == 0 and steps < STEPS and (cursor ~= '0' or steps == 0) do
    local following, found = unpack(redis.call('SCAN', cursor, 'MATCH', key('worker', '*'), 'COUNT', STEP, 'TYPE', 'hash'))
    for _, name in ipairs(found) do look_at(name) end
    cursor, steps = following, steps + 1
  end
  return newest > 0 and newest or wall
end

-- Returns the grid's time.
local function tell_time()
  local time = redis.call('TIME')
  local wall = time[1] * 1000 + math.floor(time[2] / 1000)
  local seen, grid, longest = read_clock()
  if not seen then grid = newest_heartbeat(wall) end
  local passed = wall - (seen or wall)
  if seen and passed >= 0 and passed < CLOCK_RESOLUTION then return grid + passed end
  longest = tonumber(longest or LONGEST_SILENCE)
  grid = grid + math.max(0, math.min(passed, longest))
  write_clock(wall, grid, longest)
  return grid
end

-- Sets how much of a silence of all callers counts.
local function limit_silence(ms)
  local seen, grid, longest = read_clock()
  ms = math.max(ms, CLOCK_RESOLUTION)
  if tonumber(longest) ~= ms then write_clock(seen, grid, ms) end
end
