-- Requests for ledgerd and for the peer alike, told by the environment:
-- READS      how many of a hundred requests read a user; the others post a transfer
-- PICK       who transfers: uniform; hot: all debits on one account; zipf: the n-th account with a weight of n^-0.99
-- ACCOUNTS, USERS   the first and the last id, as FIRST-LAST
-- KEY        an API key; KEYED=1 sends an Idempotency-Key with each transfer as well
-- SEED       the same seed makes the same requests
local function range(name)
  local first, last = os.getenv(name):match("(%d+)-(%d+)")
  return tonumber(first), tonumber(last)
end
local reads, pick, keyed = tonumber(os.getenv("READS")), os.getenv("PICK"), os.getenv("KEYED") == "1"
local first_account, last_account = range("ACCOUNTS")
local first_user, last_user = range("USERS")
local count, seed, sent = last_account - first_account + 1, tonumber(os.getenv("SEED")), 0
local read_headers, headers = {}, {["Content-Type"] = "application/json"}
if os.getenv("KEY") then
  read_headers["Authorization"] = "Bearer " .. os.getenv("KEY")
  headers["Authorization"] = read_headers["Authorization"]
end
math.randomseed(seed)

local cumulated = {}
if pick == "zipf" then
  local sum = 0
  for n = 1, count do
    sum = sum + n ^ -0.99
    cumulated[n] = sum
  end
end

local function account()
  if pick ~= "zipf" then return math.random(first_account, last_account) end
  local wanted, low, high = math.random() * cumulated[count], 1, count
  while low < high do -- the first whose cumulated weight is not below what was drawn
    local middle = math.floor((low + high) / 2)
    if cumulated[middle] < wanted then low = middle + 1 else high = middle end
  end
  return first_account + low - 1
end

request = function()
  if math.random(0, 99) < reads then
    return wrk.format("GET", "/api/users/" .. math.random(first_user, last_user), read_headers)
  end
  local from, to = pick == "hot" and first_account or account(), account()
  while to == from do to = account() end
  if keyed then
    sent = sent + 1
    headers["Idempotency-Key"] = seed .. "-" .. sent
  end
  local body = string.format('{"from_account_id":%d,"to_account_id":%d,"amount":%d}', from, to, math.random(1, 500))
  return wrk.format("POST", "/api/transfers", headers, body)
end
