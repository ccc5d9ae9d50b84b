# One line of the runtime's log as the event that is shipped; README.md has the fields. Read by Logstash
# and by Fluentd.
require 'json'

module Mozaiks
  # What AG2 writes here holds prompts, answers and API keys in clear.
  TRANSCRIPTS = 'autogen.logger.file_logger'.freeze
  # The first that is there names the field; what else is there stays in `extra`.
  MOVED = {
    'chat_id' => ['chat_id'], 'app_id' => ['app_id'], 'user_id' => ['user_id'],
    'workflow_name' => %w[workflow workflow_name],
    'agent' => %w[agent agent_name], 'model' => ['model'], 'tool' => %w[tool tool_name],
    'prompt_tokens' => ['prompt_tokens'], 'completion_tokens' => ['completion_tokens'],
    'total_tokens' => ['total_tokens'], 'cost_usd' => %w[cost cost_usd],
    'duration_sec' => ['duration_sec'], 'cached' => ['cached'], 'success' => ['success'],
    'session_id' => ['session_id']
  }.freeze

  module_function

  # The event, or nil if it must not be shipped.
  def event(line)
    return nil if line.include?(TRANSCRIPTS)

    read = JSON.parse(line)
    return unparsed(line) unless read.is_a?(Hash)

    event = constant.merge(
      '@timestamp' => read['ts'], 'message' => read['msg'],
      'log' => { 'level' => read['level'], 'logger' => read['logger'],
                 'origin' => { 'function' => read['fn'],
                               'file' => { 'name' => read['file'], 'line' => read['line'] } } },
      'mozaiks' => mozaiks(read['extra'] || {})
    )
    raised = read['exception']
    if raised
      event['error'] = { 'type' => raised['type'], 'message' => raised['message'],
                         'stack_trace' => raised['trace'] }
    end
    event
  rescue JSON::ParserError
    # The runtime writes NaN as it is, which is no JSON.
    unparsed(line)
  end

  def unparsed(line)
    constant.merge('message' => line)
  end

  def constant
    { 'service' => { 'name' => 'mozaiksai' }, 'event' => { 'dataset' => 'mozaiksai.runtime' },
      'ecs' => { 'version' => '8.11.0' } }
  end

  def mozaiks(extra)
    rest = extra.reject do |key, value|
      # A constant that stands where the workflow does.
      value.nil? || key == 'taskName' || (key == 'workflow_name' && value == 'performance')
    end
    moved = {}
    MOVED.each do |field, keys|
      key = keys.find { |name| rest.key?(name) }
      moved[field] = rest.delete(key) if key
    end
    moved['extra'] = rest unless rest.empty?
    moved
  end
end
