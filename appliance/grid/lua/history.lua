-- History: one entry for each session that has ended, also for one that waited and never had a slot.
--
-- An entry's id is the grid's time of the end, so the stream is in that order. The reaper keeps it within its bounds.
--
-- A session may be taken for ended by another than its proxy: its lease expired, or its worker was removed. Its entry
-- is then `presumed`. If its proxy releases it after all, the entry becomes what the proxy says; if the session turns
-- out to run, the entry is taken back. So there is always one entry for each session that has ended, and no more.

local PRESUMED_MS = '3600000'
local VISIT_MS = '60000'  -- for another proxy to say what the last client of a kept session has moved

-- Adds an entry, in the order of the grid's time even if that was set back (a clock that Redis lost). Returns its id.
local function add(fields)
  local name = key('history')
  local id = redis.pcall('XADD', name, whole(NOW) .. '-*', unpack(fields))
  if type(id) == 'string' then return id end
  local last = redis.call('XREVRANGE', name, '+', '-', 'COUNT', '1')[1]
  return redis.call('XADD', name, last[1]:match('^%d+') .. '-*', unpack(fields))
end

-- Takes an entry out of the history. Returns its fields, or nil if it is there no more.
local function take(id)
  local found = redis.call('XRANGE', key('history'), id, id)[1]
  redis.call('XDEL', key('history'), id)
  return found and found[2]
end

-- Writes that a session has ended. `session` has its record's fields, false or nil for those that it does not have;
-- `is_presumed` says that its proxy may know better.
function history.write(session, id, reason, ended_by, is_presumed)
  local fields = {
    'request', session.request, 'worker', session.worker, 'started', session.started, 'granted', session.granted,
    'reason', reason, 'ended_by', ended_by, 'traffic', session.traffic or '',
  }
  for _, field in ipairs(session.visit and {'visit', 'queued'} or session.queued and {'queued'} or {}) do
    fields[#fields + 1] = field
    fields[#fields + 1] = session[field] or ''
  end
  local entry = add(fields)
  local is_open = is_presumed or session.visit
  if is_open then redis.call('SET', key('presumed', id), entry, 'PX', is_presumed and PRESUMED_MS or VISIT_MS) end
end

-- Takes back that a session has ended: it is there.
function history.revoke(id)
  local entry = redis.call('GETDEL', key('presumed', id))
  if entry then take(entry) end
end

-- Changes the entry of a session that was taken for ended, if there is one: `change` is given its fields, and returns
-- those that change.
function history.amend(id, change)
  local name = key('presumed', id)
  local entry = redis.call('GET', name)
  local flat = entry and take(entry)
  if not flat then return end
  local fields = {}
  for at = 1, #flat, 2 do fields[flat[at]] = flat[at + 1] end
  for field, value in pairs(change(fields)) do
    local at = 1
    while flat[at] and flat[at] ~= field do at = at + 2 end
    flat[at], flat[at + 1] = field, value
  end
  redis.call('SET', name, add(flat), 'KEEPTTL')
end

-- Keeps the newest `keep` entries, and none older than `max_age_ms`.
function history.trim(keep, max_age_ms)
  redis.call('XTRIM', key('history'), 'MAXLEN', whole(keep))
  redis.call('XTRIM', key('history'), 'MINID', whole(math.max(0, NOW - max_age_ms)))
end

-- Returns the traffic of a session as four numbers: `ended` of the visits that are over, `visit` of the last one.
local function sum(ended, visit)
  local total = {0, 0, 0, 0}
  for _, text in ipairs({ended or '', visit and visit:match(' (.*)') or ''}) do
    local at = 1
    for number in text:gmatch('%d+') do
      total[at], at = total[at] + tonumber(number), at + 1
    end
  end
  return table.concat({whole(total[1]), whole(total[2]), whole(total[3]), whole(total[4])}, ' ')
end

-- Returns how many bytes a session has moved, both ways together.
function history.bytes(session)
  local traffic = session.visit and sum(session.traffic, session.visit) or session.traffic
  if not traffic then return '0' end
  local from_client, to_client = traffic:match('^(%d+) (%d+)')
  return whole(from_client + to_client)
end

-- Returns the fields of a session that change when one of its clients has moved something: one visit follows another.
local function moved(session, one)
  local now = {visit = one.visit .. ' ' .. one.traffic}
  local last = session.visit and session.visit:match('^%S+')
  if last and last ~= one.visit then now.traffic = sum(session.traffic, session.visit) end
  return now
end

-- note_visits {visits = {{id, visit, traffic}}} -> {}
-- Notes what clients of kept sessions have moved so far, each in one `visit`. A session has one client at a time.
register('note_visits', function(a)
  for _, one in ipairs(a.visits) do
    local name = key('session', one.id)
    local session = read_fields(name, {'request', 'traffic', 'visit'})
    if session then
      write(name, moved(session, one))
    else
      history.amend(one.id, function(entry) return moved(entry, one) end)
    end
  end
  return {}
end)
