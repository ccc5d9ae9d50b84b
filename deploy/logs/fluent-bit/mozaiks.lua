-- One record of the runtime's log as the event that is shipped; ../README.md has the fields.

-- What AG2 writes here holds prompts, answers and API keys in clear.
local transcripts = "autogen.logger.file_logger"
-- The first that is there names the field; what else is there stays in `extra`.
local moved = {
  {"chat_id", "chat_id"}, {"app_id", "app_id"}, {"user_id", "user_id"},
  {"workflow_name", "workflow", "workflow_name"},
  {"agent", "agent", "agent_name"}, {"model", "model"}, {"tool", "tool", "tool_name"},
  {"prompt_tokens", "prompt_tokens"}, {"completion_tokens", "completion_tokens"},
  {"total_tokens", "total_tokens"}, {"cost_usd", "cost", "cost_usd"},
  {"duration_sec", "duration_sec"}, {"cached", "cached"}, {"success", "success"},
  {"session_id", "session_id"},
}

local function constant()
  return {
    service = {name = "mozaiksai"},
    event = {dataset = "mozaiksai.runtime"},
    ecs = {version = "8.11.0"},
  }
end

local function mozaiks(extra)
  extra.taskName = nil
  -- A constant that stands where the workflow does.
  if extra.workflow_name == "performance" then
    extra.workflow_name = nil
  end
  local made = {}
  for _, names in ipairs(moved) do
    for place = 2, #names do
      if extra[names[place]] ~= nil then
        made[names[1]] = extra[names[place]]
        extra[names[place]] = nil
        break
      end
    end
  end
  if next(extra) ~= nil then
    made.extra = extra
  end
  return made
end

-- Called by Fluent Bit: -1 drops, 2 takes the new record with the time that the parser read.
function ship(_, timestamp, record)
  -- What the parser could not read is still the line.
  if record.log ~= nil then
    if string.find(record.log, transcripts, 1, true) then
      return -1, timestamp, record
    end
    local event = constant()
    event.message = record.log
    return 2, timestamp, event
  end
  if record.logger == transcripts then
    return -1, timestamp, record
  end
  local event = constant()
  event.message = record.msg
  event.log = {
    level = record.level,
    logger = record.logger,
    origin = {["function"] = record.fn, file = {name = record.file, line = record.line}},
  }
  event.mozaiks = mozaiks(record.extra or {})
  local raised = record.exception
  if raised ~= nil then
    event.error = {type = raised.type, message = raised.message, stack_trace = raised.trace}
  end
  return 2, timestamp, event
end
