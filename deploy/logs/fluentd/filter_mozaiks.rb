# The filter `mozaiks` for Fluentd: makes of a line (`message`) what mozaiks.rb says.
require 'fluent/plugin/filter'
require 'time'
require_relative 'mozaiks'

module Fluent
  module Plugin
    # Reads the line of each record.
    class MozaiksFilter < Filter
      Fluent::Plugin.register_filter('mozaiks', self)

      def filter_with_time(_tag, time, record)
        event = Mozaiks.event(record['message'].to_s)
        return nil unless event

        stamp = event['@timestamp']
        time = Fluent::EventTime.from_time(Time.iso8601(stamp)) if stamp
        [time, event]
      rescue ArgumentError
        # No time that can be read: the time of reading is as good.
        [time, event.reject { |key, _| key == '@timestamp' }]
      end
    end
  end
end
