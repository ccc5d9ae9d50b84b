# What Logstash's ruby filter calls: makes of a line (`message`) what mozaiks.rb beside this file says.
require File.join(__dir__, 'mozaiks')

def filter(event)
  made = Mozaiks.event(event.get('message').to_s)
  return [] unless made

  stamp = made.delete('@timestamp')
  # What Logstash itself adds would not fit the index.
  %w[host log event @version].each { |field| event.remove(field) }
  made.each { |field, value| event.set(field, value) }
  event.set('@timestamp', LogStash::Timestamp.new(stamp)) if stamp
  [event]
end
