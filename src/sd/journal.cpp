#include "sd/journal.hpp"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>
#define SD_JOURNAL_SUPPRESS_LOCATION
#include <systemd/sd-journal.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <ctime>
#include <mutex>
#include <optional>
#include <vector>

#include "util/error.hpp"
#include "util/fd.hpp"

namespace syncropy {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::milliseconds update_interval{100};
constexpr unsigned usual_width = 80;  // where the terminal does not say
constexpr std::string_view clear_line = "\r\x1b[K";

struct Log {
  std::mutex mutex;
  std::string identifier = "syncropy";
  Priority least = Priority::info;
  bool to_journal = false, to_terminal = false;
  std::vector<LogField> fields;
  Fd file;
  bool progress_shown = false;
  std::optional<Clock::time_point> last_update;
};

Log& state() {
  static Log log;
  return log;
}

std::string_view name_of(Priority priority) {
  switch (priority) {
    case Priority::error: return "error";
    case Priority::warning: return "warning";
    case Priority::notice: return "notice";
    case Priority::info: return "info";
    case Priority::debug: return "debug";
  }
  return "error";
}

// systemd.exec(5): JOURNAL_STREAM is "DEVICE:INODE" of the stream; whoever redirected standard error since has another inode there.
bool stderr_is_the_journal() {
  const char* text = std::getenv("JOURNAL_STREAM");
  struct stat st{};
  if (text == nullptr || ::fstat(STDERR_FILENO, &st) != 0) return false;
  return text == std::to_string(st.st_dev) + ":" + std::to_string(st.st_ino);
}

bool stderr_is_a_terminal() {
  const char* kind = std::getenv("TERM");
  return ::isatty(STDERR_FILENO) != 0 && (kind == nullptr || std::string_view(kind) != "dumb");
}

// The disk may be full and the reader gone: a log has no one to tell.
void write_quietly(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t put = ::write(fd, bytes.data(), bytes.size());
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) return;
    bytes.remove_prefix(static_cast<std::size_t>(put));
  }
}

std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  ::gmtime_r(&now, &parts);
  std::array<char, 32> text{};
  return {text.data(), std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &parts)};
}

void send_to_journal(const Log& log, Priority priority, std::string_view message, const std::vector<LogField>& fields, std::string_view message_id) {
  std::vector<std::string> lines{"MESSAGE=" + std::string(message), "PRIORITY=" + std::to_string(static_cast<int>(priority)), "SYSLOG_IDENTIFIER=" + log.identifier};
  if (!message_id.empty()) lines.push_back("MESSAGE_ID=" + std::string(message_id));
  for (const std::vector<LogField>* some : {&log.fields, &fields})
    for (const LogField& field : *some) lines.push_back(std::string(field.name) + "=" + field.value);
  std::vector<iovec> vectors;
  for (std::string& line : lines) vectors.push_back({line.data(), line.size()});
  if (::sd_journal_sendv(vectors.data(), static_cast<int>(vectors.size())) < 0) write_quietly(STDERR_FILENO, std::string(message) + "\n");
}

std::string take_progress_away(Log& log) {
  if (!log.progress_shown) return {};
  log.progress_shown = false;
  log.last_update.reset();
  return std::string(clear_line);
}

unsigned terminal_width() {
  winsize size{};
  return ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : usual_width;
}

// The first `width` code points of valid UTF-8.
std::string_view cut(std::string_view text, std::size_t width) {
  std::size_t at = 0;
  for (; at < text.size(); ++at) {
    const bool starts = (static_cast<unsigned char>(text[at]) & 0xC0) != 0x80;
    if (starts && width-- == 0) break;
  }
  return text.substr(0, at);
}

}  // namespace

void open_log(std::string_view identifier, Priority least, const std::string& log_file) {
  Fd file;
  if (!log_file.empty()) {
    file = Fd(::open(log_file.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0640));
    if (!file) throw_errno(ExitStatus::config, "open the log file", log_file, "set 'log_file' to a file this user may write, or leave it out: the journal has every line");
  }
  Log& log = state();
  const std::lock_guard lock(log.mutex);
  log.identifier = identifier;
  log.least = least;
  log.file = std::move(file);
  log.to_journal = stderr_is_the_journal();
  log.to_terminal = !log.to_journal && stderr_is_a_terminal();
}

void set_log_fields(std::vector<LogField> fields) {
  Log& log = state();
  const std::lock_guard lock(log.mutex);
  log.fields = std::move(fields);
}

bool logs_to_journal() {
  Log& log = state();
  const std::lock_guard lock(log.mutex);
  return log.to_journal;
}

void log(Priority priority, std::string_view message, const std::vector<LogField>& fields, std::string_view message_id) noexcept {
  try {
    Log& log = state();
    const std::lock_guard lock(log.mutex);
    if (static_cast<int>(priority) > static_cast<int>(log.least)) return;
    if (log.to_journal) {
      send_to_journal(log, priority, message, fields, message_id);
    } else {
      std::string line = take_progress_away(log) + log.identifier + ": ";
      if (priority != Priority::info) line += std::string(name_of(priority)) + ": ";
      write_quietly(STDERR_FILENO, line.append(message).append("\n"));
    }
    if (log.file) write_quietly(log.file.get(), (utc_now() + " " + std::string(name_of(priority)) + " ").append(message).append("\n"));
  } catch (const std::exception&) {
    // Out of memory: the line is lost, the backup is not.
  }
}

void show_progress(std::string_view line) noexcept {
  try {
    Log& log = state();
    const std::lock_guard lock(log.mutex);
    if (!log.to_terminal) return;
    if (line.empty()) return write_quietly(STDERR_FILENO, take_progress_away(log));
    const auto now = Clock::now();
    if (log.last_update && now - *log.last_update < update_interval) return;
    log.last_update = now;
    log.progress_shown = true;
    // The last column stays empty, and wrapping is off meanwhile for characters that take two: the line must stay one line.
    write_quietly(STDERR_FILENO, "\r\x1b[?7l" + std::string(cut(line, terminal_width() - 1)) + "\x1b[K\x1b[?7h");
  } catch (const std::exception&) {
    // Nothing that anyone would miss.
  }
}

bool progress_is_visible() {
  Log& log = state();
  const std::lock_guard lock(log.mutex);
  return log.to_terminal;
}

}  // namespace syncropy
