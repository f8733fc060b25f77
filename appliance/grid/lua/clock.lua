-- The grid's own time, in milliseconds. It does what the server's does, but a step back counts as nothing, and a silence
-- of all callers as `longest` at most. So a step of the server's clock, a pause of the server and a network that was
-- away expire nothing: those who could not speak in time still can.

local CLOCK_RESOLUTION = 100
local LONGEST_SILENCE = 5000

local function read_clock()
  return (redis.call('GET', key('clock')) or ''):match('(%d+) (%d+) (%d+)')
end

local function write_clock(seen, grid, longest)
  redis.call('SET', key('clock'), string.format('%d %d %d', seen, grid, longest))
end

-- Returns when the newest heartbeat came, for a clock that is lost; the server's time if there is none.
local function newest_heartbeat(wall)
  local newest = 0
  for _, id in ipairs(redis.call('ZRANGE', key('workers'), 0, 9, 'REV')) do
    local heartbeat = tonumber(redis.call('HGET', key('worker', id), 'heartbeat') or 0)
    newest = math.max(newest, heartbeat)
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
