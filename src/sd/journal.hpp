#pragma once
// One log line to the journal with fields, to standard error where there is no journal, and to `log_file` where set.

#include <vector>
#include <string>
#include <string_view>
#include <utility>

namespace syncropy {

enum class Priority : int { error = 3, warning = 4, notice = 5, info = 6, debug = 7 };  // syslog(3)

struct LogField {
  std::string_view name;  // upper case, SYNCROPY_ prefix by convention: "SYNCROPY_CLIENT"
  std::string value;      // any bytes; the journal takes them as they are. Names are escaped like in messages, to be found by what is read
};

// At start, and again once the configuration is known: the last call counts. `identifier` is the program's name; a message less urgent
// than `least` is dropped. When standard error is connected to the journal (JOURNAL_STREAM, systemd.exec(5)), lines go by
// sd_journal_sendv(3) with fields; otherwise to standard error as "PROGRAM: LEVEL: MESSAGE" (no level for info). `log_file` gets
// "TIME LEVEL MESSAGE" as well, one write per line, appended; SystemError(config) where it cannot be opened.
void open_log(std::string_view identifier, Priority least, const std::string& log_file = {});

// What goes with every entry from now on.
void set_log_fields(std::vector<LogField> fields);
// Lines go to the journal, with their fields.
[[nodiscard]] bool logs_to_journal();

// Thread-safe, does not throw. A field's name may come several times, as the journal allows, up to some 900 in all. `message` is escaped already where it holds foreign names and is one line; `message_id` is
// empty or 32 hexadecimal digits from sd/message-ids.hpp.
void log(Priority priority, std::string_view message, const std::vector<LogField>& fields = {}, std::string_view message_id = {}) noexcept;

// A live line on standard error when it is a terminal (overwritten in place, cut to its width, cleared by the next log line);
// nothing otherwise. At most ten updates a second reach the terminal. Empty text clears it. Thread-safe, does not throw.
void show_progress(std::string_view line) noexcept;
[[nodiscard]] bool progress_is_visible();

}  // namespace syncropy
