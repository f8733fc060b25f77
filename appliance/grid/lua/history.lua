-- History: one entry for each session that has ended, also for one that waited and never had a slot.
--
-- An entry's id is the grid's time of the end, so the stream is in that order. The reaper keeps it within its bounds.
-- Entries are found by an index, which is made when somebody asks for one.
--
-- A session may be taken for ended by another than its proxy: its lease expired, or its worker was removed. Its entry
-- is then `presumed`. If its proxy releases it after all, the entry becomes what the proxy says; if the session turns
-- out to run, the entry is taken back. So there is always one entry for each session that has ended, and no more.

local PRESUMED_MS = '3600000'
local VISIT_MS = '60000'  -- for another proxy to say what the last client of a kept session has moved

-- The lines of the field `end`: few fields cost least. Only the last line may have line breaks. `left` says why the
-- session's worker drained.
local LINES = {'worker', 'started', 'granted', 'traffic', 'visit', 'queued', 'left', 'ended_by', 'reason'}

local function pack(entry)
  return (entry.worker or '') .. '\n' .. (entry.started or '') .. '\n' .. (entry.granted or '') .. '\n' .. (entry.traffic or '') .. '\n' ..
    (entry.visit or '') .. '\n' .. (entry.queued or '') .. '\n' .. (entry.left or '') .. '\n' .. entry.ended_by ..
    '\n' .. entry.reason
end

local function unpacked(text)
  local entry, at = {}, 1
  for number = 1, #LINES - 1 do
    local to = text:find('\n', at, true)
    entry[LINES[number]], at = text:sub(at, to - 1), to + 1
  end
  entry.reason = text:sub(at)
  return entry
end

-- Returns the id of a stream's newest entry, also if that has been deleted.
local function last_id(name)
  local about = redis.call('XINFO', 'STREAM', name)
  for i = 1, #about, 2 do
    if about[i] == 'last-generated-id' then return about[i + 1] end
  end
end

-- Adds an entry, in the order of the grid's time even if that was set back (a clock that Redis lost). Returns its id.
local function add(request, text)
  local name = key('history')
  local id = redis.pcall('XADD', name, whole(NOW) .. '-*', 'request', request, 'end', text)
  if type(id) == 'string' then return id end
  return redis.call('XADD', name, last_id(name):match('^%d+') .. '-*', 'request', request, 'end', text)
end

-- Takes an entry out of the history. Returns its request and its end, or nil if it is there no more.
local function take(id)
  local found = redis.call('XRANGE', key('history'), id, id)[1]
  redis.call('XDEL', key('history'), id)
  if found then return found[2][2], found[2][4] end
end

-- Writes that a session has ended. `session` has its record's fields, nil for those that it does not have;
-- `is_presumed` says that its proxy may know better.
function history.write(session, id, reason, ended_by, is_presumed)
  session.reason, session.ended_by = reason, ended_by
  local entry = add(session.request, pack(session))
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
  if not entry then return end
  local request, text = take(entry)
  if not request then return end
  local fields = unpacked(text)
  for field, value in pairs(change(fields)) do fields[field] = value end
  redis.call('SET', name, add(request, pack(fields)), 'KEEPTTL')
end

local INDEXED_AT_ONCE, INDEX_KEPT_S = 200, '3600'
local REACHES = ''  -- the index's field for the last entry that is in it

-- find_past {id} -> {entry, more}
-- Returns a past session's entry in the history. Only this extends the index, so that no session pays for it: there is
-- `more` to do until the newest entry is in it; other calls run in between.
register('find_past', function(a)
  local index, name, fields = key('index'), key('history'), {}
  if redis.call('HLEN', index) > 2 * redis.call('XLEN', name) + INDEXED_AT_ONCE then redis.call('UNLINK', index) end
  local last = redis.call('HGET', index, REACHES)
  local found = redis.call('XRANGE', name, last and '(' .. last or '-', '+', 'COUNT', INDEXED_AT_ONCE)
  for _, entry in ipairs(found) do
    fields[#fields + 1], fields[#fields + 2] = cjson.decode(entry[2][2]).id, entry[1]
  end
  if #found > 0 then
    redis.call('HSET', index, REACHES, found[#found][1], unpack(fields))
    redis.call('EXPIRE', index, INDEX_KEPT_S)
  end
  return {entry = redis.call('HGET', index, a.id) or nil, more = #found == INDEXED_AT_ONCE}
end)

-- Keeps the newest `keep` entries, and none older than `max_age_ms`.
function history.trim(keep, max_age_ms)
  redis.call('XTRIM', key('history'), 'MAXLEN', whole(keep))
  redis.call('XTRIM', key('history'), 'MINID', whole(math.max(0, NOW - max_age_ms)))
end

local VISITS_APART = 2  -- of a session: the last note of a visit may come after the first one of the next

-- Returns the traffic of a session as four numbers: `ended` is that of earlier visits, `visits` are the last ones.
local function sum(ended, visits)
  local total = {0, 0, 0, 0}
  local function add(text)
    local at = 1
    for number in text:gmatch('%d+') do
      total[at], at = total[at] + tonumber(number), at + 1
    end
  end
  add(ended or '')
  for visit in (visits or ''):gmatch('[^;]+') do add(visit:match(' (.*)')) end
  return table.concat({whole(total[1]), whole(total[2]), whole(total[3]), whole(total[4])}, ' ')
end

-- Returns how many bytes a session has moved, both ways together.
function history.bytes(session)
  local traffic = session.visit and sum(session.traffic, session.visit) or session.traffic
  if not traffic then return '0' end
  local from_client, to_client = traffic:match('^(%d+) (%d+)')
  return whole(from_client + to_client)
end

-- Returns the fields of a session that change when one of its clients has moved something.
local function moved(session, one)
  local noted, visits, is_known = one.visit .. ' ' .. one.traffic, {}, false
  for visit in (session.visit or ''):gmatch('[^;]+') do
    local is_it = visit:match('^%S+') == one.visit
    is_known = is_known or is_it
    visits[#visits + 1] = is_it and noted or visit
  end
  if not is_known then table.insert(visits, 1, noted) end
  local oldest = #visits > VISITS_APART and table.remove(visits)
  return {visit = table.concat(visits, ';'), traffic = oldest and sum(session.traffic, oldest) or nil}
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
