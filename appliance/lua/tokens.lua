-- The tokens' functions: create_token, revoke_token, check_token, restore_tokens.
--
-- The field of a token is its digest; the token itself never comes here. One that is revoked stays, marked, so
-- that no proxy brings it back from a copy that is older than that (appliance/tokens.py has the rule). Only
-- one that has expired is forgotten: it is of no use even if it comes back.

local function read_tokens()
  local tokens = read(key('tokens')) or {}
  for digest, text in pairs(tokens) do tokens[digest] = cjson.decode(text) end
  return tokens
end

local function write_token(digest, token)
  redis.call('HSET', key('tokens'), digest, cjson.encode(token))
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
      redis.call('HDEL', key('tokens'), digest)
      redis.call('HDEL', key('tokens', 'used'), digest)
      tokens[digest] = nil
    end
  end
end

-- Lets every proxy look at the tokens anew.
local function tell_proxies()
  for _, proxy in ipairs(redis.call('ZRANGE', key('proxies'), 0, -1)) do tell('proxy', proxy, {tokens = true}) end
end

-- create_token {digest, name, ttl_ms} -> {created}
-- Not if there is a valid token of that name; `ttl_ms` 0 is for ever.
register('create_token', function(a)
  local tokens = read_tokens()
  forget_expired(tokens)
  if tokens[a.digest] then return {created = true} end
  for _, token in pairs(tokens) do
    if token.name == a.name and is_valid(token) then return {created = false} end
  end
  local expires_ms = a.ttl_ms > 0 and NOW + a.ttl_ms or 0
  write_token(a.digest, {name = a.name, created_ms = NOW, revoked_ms = 0, expires_ms = expires_ms})
  tell_proxies()
  return {created = true}
end)

-- revoke_token {name} -> {revoked}
-- Revokes the valid tokens of a name: two, if a copy brought back one of the same name. Gives how many.
register('revoke_token', function(a)
  local revoked = 0
  for digest, token in pairs(read_tokens()) do
    if token.name == a.name and is_valid(token) then
      token.revoked_ms, revoked = NOW, revoked + 1
      write_token(digest, token)
      redis.call('HDEL', key('tokens', 'used'), digest)
    end
  end
  if revoked > 0 then tell_proxies() end
  return {revoked = revoked}
end)

-- check_token {digest} -> {valid, name}
-- Gives the name of a valid token, and notes that it was used.
register('check_token', function(a)
  local text = redis.call('HGET', key('tokens'), a.digest)
  local token = text and cjson.decode(text)
  if not token or not is_valid(token) then return {valid = false} end
  redis.call('HSET', key('tokens', 'used'), a.digest, whole(NOW))
  return {valid = true, name = token.name}
end)

-- restore_tokens {tokens = {digest -> token}} -> {tokens}
-- Joins a proxy's copy of the tokens to those here, and gives all.
register('restore_tokens', function(a)
  local tokens = read_tokens()
  for digest, token in pairs(a.tokens) do
    local known = tokens[digest]
    if not known or (known.revoked_ms == 0 and token.revoked_ms > 0) then
      tokens[digest] = token
      write_token(digest, token)
    end
  end
  forget_expired(tokens)
  return {tokens = tokens}
end)
