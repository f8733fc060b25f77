-- The tokens' functions: create_token, revoke_token, check_token, restore_tokens.
--
-- A token's field is its digest; the token itself is never stored. A revoked token stays, marked, so that no proxy
-- restores it from an older copy (appliance/grid/token_table.py has the rule). Only an expired token is forgotten: it
-- would be useless even if restored.
--
-- Tokens are outside the schema's version: a revoked token is revoked in every release that shares this Redis. Releases
-- before schema 5 keep tables of their own. While there is one, it is read and changed together with this one; where
-- two tables differ, revoked wins.

local OLDER_SCHEMAS = {'4', '3', '2'}

local function shared(kind, a)
  local root = NS:match('^(.*:)%d+:$')
  return a and root .. kind .. ':' .. a or root .. kind
end

-- Returns the names of the tables: this one first, then the existing ones of older releases.
local function tables()
  local names = {shared('tokens')}
  for _, schema in ipairs(OLDER_SCHEMAS) do
    local older = shared(schema, 'tokens')
    if redis.call('EXISTS', older) == 1 then names[#names + 1] = older end
  end
  return names
end

-- Copies of earlier releases have no roles.
local function is_news(known, token)
  if not known or known.revoked_ms > 0 then return not known end
  return token.revoked_ms > 0 or ((token.role or '') ~= '' and (known.role or '') == '')
end

local function write_token(digest, token)
  for _, name in ipairs(tables()) do redis.call('HSET', name, digest, cjson.encode(token)) end
end

-- Joins all tables, and returns all tokens.
local function join_tables()
  local all, known = {}, {}
  for i, name in ipairs(tables()) do
    known[name] = read(name) or {}
    for digest, text in pairs(known[name]) do
      local token = cjson.decode(text)
      if is_news(all[digest], token) then all[digest] = token end
    end
    local used = i > 1 and read(name .. ':used') or {}
    for digest, used_ms in pairs(used) do redis.call('HSETNX', shared('tokens', 'used'), digest, used_ms) end
  end
  for name, texts in pairs(known) do
    for digest, token in pairs(all) do
      local text = texts[digest]
      if is_news(text and cjson.decode(text), token) then redis.call('HSET', name, digest, cjson.encode(token)) end
    end
  end
  return all
end

local function find_token(digest)
  local found
  for _, name in ipairs(tables()) do
    local text = redis.call('HGET', name, digest)
    local token = text and cjson.decode(text)
    if token and is_news(found, token) then found = token end
  end
  return found
end

local function forget_token(digest)
  for _, name in ipairs(tables()) do
    redis.call('HDEL', name, digest)
    redis.call('HDEL', name .. ':used', digest)
  end
end

local function has_expired(token)
  return token.expires_ms > 0 and token.expires_ms < NOW
end

local function is_valid(token)
  return token.revoked_ms == 0 and not has_expired(token)
end

local function forget_expired(tokens)
  for digest, token in pairs(tokens) do
    if has_expired(token) then
      forget_token(digest)
      tokens[digest] = nil
    end
  end
end

-- Tells every proxy that the tokens have changed.
local function tell_proxies()
  for _, proxy in ipairs(redis.call('ZRANGE', key('proxies'), 0, -1)) do tell('proxy', proxy, {tokens = true}) end
end

-- create_token {digest, name, ttl_ms, role} -> {created}
-- Adds a token, unless a valid one has that name; `ttl_ms` 0 is for ever. `role` is "client" or "admin".
register('create_token', function(a)
  local tokens = join_tables()
  forget_expired(tokens)
  if tokens[a.digest] then return {created = true} end
  for _, token in pairs(tokens) do
    if token.name == a.name and is_valid(token) then return {created = false} end
  end
  local expires_ms = a.ttl_ms > 0 and NOW + a.ttl_ms or 0
  local token = {name = a.name, created_ms = NOW, revoked_ms = 0, expires_ms = expires_ms, role = a.role}
  write_token(a.digest, token)
  tell_proxies()
  return {created = true}
end)

-- revoke_token {name} -> {revoked}
-- Revokes the valid tokens of a name: two, if a copy restored one. Returns how many.
register('revoke_token', function(a)
  local revoked = 0
  for digest, token in pairs(join_tables()) do
    if token.name == a.name and is_valid(token) then
      token.revoked_ms, revoked = NOW, revoked + 1
      write_token(digest, token)
      redis.call('HDEL', shared('tokens', 'used'), digest)
    end
  end
  if revoked > 0 then tell_proxies() end
  return {revoked = revoked}
end)

-- check_token {digest} -> {token}
-- Returns a valid token, false if it is none, and records its use.
register('check_token', function(a)
  local token = find_token(a.digest)
  if not token or not is_valid(token) then return {token = false} end
  redis.call('HSET', shared('tokens', 'used'), a.digest, whole(NOW))
  return {token = token}
end)

-- restore_tokens {tokens = {digest -> token}} -> {tokens}
-- Adds a copy's tokens to those in Redis, and returns all.
register('restore_tokens', function(a)
  local tokens = join_tables()
  for digest, token in pairs(a.tokens) do
    if is_news(tokens[digest], token) then
      tokens[digest] = token
      write_token(digest, token)
    end
  end
  forget_expired(tokens)
  return {tokens = tokens}
end)
