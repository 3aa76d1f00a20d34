#include "catalog/firebird.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <utility>

#include "util/escape.hpp"

namespace syncropy::firebird {
namespace {

// What a failure means to an operator, by the first code or errno of the status vector that says something.
struct Cause {
  ExitStatus status;
  const char* what;
  const char* remedy;
};

const Cause* cause_of_code(long code) {
  static constexpr Cause away{ExitStatus::unavailable, "the database server does not answer",
                              "check database.host and database.port, and that Firebird runs there"};
  static constexpr Cause lost{ExitStatus::unavailable, "the connection to the database server was lost",
                              "see that server's firebird.log; what was not committed is recorded by the next run"};
  static constexpr Cause password{ExitStatus::unavailable, "the database server refuses the user name or password",
                                  "check database.user and database.password"};
  static constexpr Cause privilege{ExitStatus::unavailable, "the database server does not allow this",
                                   "let the catalog's database belong to database.user, in a folder that the server's DatabaseAccess allows"};
  static constexpr Cause engine{ExitStatus::unavailable, "no Firebird engine takes this database",
                                "install Firebird's embedded engine (Debian: firebird3.0-server-core), or name a server as database.host"};
  static constexpr Cause format{ExitStatus::data, "the file is not a Firebird 3 database",
                                "check database.dbname, or make the catalog anew with 'syncropy rebuild-catalog'"};
  static constexpr Cause damaged{ExitStatus::data, "the database is damaged",
                                 "make the catalog anew with 'syncropy rebuild-catalog'; on a server, drop the database before"};
  static constexpr Cause read_only{ExitStatus::io, "the database is read-only", "make its file and folder writable"};
  static constexpr Cause shared{ExitStatus::unavailable, "another Firebird engine holds the database file",
                                "end that program, or name the server that has the file open as database.host"};
  static constexpr Cause locked{ExitStatus::busy, "another program changes the same rows of the catalog", "try again when it has ended"};
  switch (code) {
    case isc_net_connect_err: case isc_net_lookup_err: case isc_network_error: case isc_connect_reject: case isc_net_init_error:
    case isc_net_event_connect_timeout:
      return &away;
    case isc_net_read_err: case isc_net_write_err: case isc_lost_db_connection: case isc_conn_lost: case isc_att_shutdown: case isc_shutdown:
    case isc_shutinprog: case isc_net_server_shutdown:
      return &lost;
    case isc_login: case isc_login_error: case isc_wirecrypt_incompatible:
      return &password;
    case isc_no_priv: case isc_conf_access_denied: return &privilege;
    case isc_unavailable: return &engine;
    case isc_bad_db_format: case isc_wrong_ods: return &format;
    case isc_db_corrupt: case isc_bad_checksum: case isc_bug_check: return &damaged;
    case isc_read_only_database: return &read_only;
    case isc_file_in_use: case isc_already_opened: return &shared;
    case isc_lock_conflict: case isc_deadlock: case isc_lock_timeout: case isc_update_conflict: return &locked;
    default: return nullptr;
  }
}

const Cause* cause_of_errno(int code) {
  static constexpr Cause full{ExitStatus::io, "the disk of the database is full", "make room, or move the catalog"};
  static constexpr Cause failing{ExitStatus::io, "the disk of the database fails", "see the kernel's log; check that disk"};
  static constexpr Cause read_only{ExitStatus::io, "the database cannot be written", "make its file and folder writable for this user"};
  static constexpr Cause missing{ExitStatus::no_input, "there is no such database", "check database.dbname; a backup run makes the catalog"};
  switch (code) {
    case ENOSPC: case EDQUOT: case EFBIG: return &full;
    case EIO: return &failing;
    case EROFS: case EACCES: case EPERM: return &read_only;
    case ENOENT: case ENOTDIR: return &missing;
    default: return nullptr;
  }
}

// A server sends the errno of its own system call as text alone.
int errno_of(std::string_view text) {
  static constexpr std::pair<std::string_view, int> texts[] = {
      {"No such file or directory", ENOENT}, {"Not a directory", ENOTDIR}, {"File exists", EEXIST}, {"Permission denied", EACCES},
      {"Operation not permitted", EPERM}, {"Read-only file system", EROFS}, {"No space left on device", ENOSPC}, {"Disk quota exceeded", EDQUOT},
      {"File too large", EFBIG}, {"Input/output error", EIO}};
  for (const auto& [known, code] : texts)
    if (text == known) return code;
  return 0;
}

// Firebird's own words, all messages of the vector.
std::string words_of(Firebird::IStatus* status) {
  char buffer[2048];
  const unsigned length = master().getUtilInterface()->formatStatus(buffer, sizeof buffer, status);
  std::string text(buffer, std::min<std::size_t>(length, sizeof buffer));
  for (std::size_t at = 0; (at = text.find("\n-", at)) != std::string::npos;) text.replace(at, 2, "; ");
  return escape(text);
}

[[noreturn]] void raise(Firebird::IStatus* status, Link& link) {
  const Cause* by_code = nullptr;
  int system_code = 0;
  bool io_error = false;
  const ISC_STATUS* vector = status->getErrors();
  const long first = vector[0] == isc_arg_gds ? static_cast<long>(vector[1]) : 0;
  for (const ISC_STATUS* at = vector; at[0] != isc_arg_end; at += at[0] == isc_arg_cstring ? 3 : 2) {
    if (at[0] == isc_arg_gds) {
      io_error = io_error || at[1] == isc_io_error;
      // The first code is often the general one (network error); the specific one behind it is the better text.
      if (const Cause* cause = cause_of_code(static_cast<long>(at[1])); cause != nullptr && by_code == nullptr) by_code = cause;
      if (at[1] == isc_net_read_err || at[1] == isc_net_write_err) by_code = cause_of_code(static_cast<long>(at[1]));
    } else if (at[0] == isc_arg_unix && system_code == 0) {
      system_code = static_cast<int>(at[1]);
    } else if ((at[0] == isc_arg_interpreted || at[0] == isc_arg_string) && system_code == 0) {
      system_code = errno_of(reinterpret_cast<const char*>(at[1]));
    }
  }
  const Cause* by_errno = cause_of_errno(system_code);
  const Cause* cause = by_errno != nullptr && (io_error || by_code == nullptr) ? by_errno : by_code;
  const std::string words = words_of(status);
  link.lost = link.lost || cause == cause_of_code(isc_lost_db_connection);
  if (link.is_dead()) skip_shutdown_at_exit();
  if (cause != nullptr) throw DatabaseError(cause->status, link.subject + ": " + cause->what + " (" + words + ")", cause->remedy, first, system_code);
  throw DatabaseError(io_error ? ExitStatus::io : ExitStatus::internal, link.subject + ": " + words, {}, first, system_code);
}

// The engine repeats fstat(2) for as long as errno says EINTR, whatever that returned: one of ours that was interrupted long ago let it spin for ever.
void forget_interruption() { errno = 0; }

// Calls of destructors: a failure has nobody to tell, and the server takes an unfinished transaction back by itself.
class QuietStatus : public Firebird::BaseStatusWrapper<QuietStatus> {
 public:
  QuietStatus() : BaseStatusWrapper(master().getStatus()) { forget_interruption(); }
  ~QuietStatus() { dispose(); }
  QuietStatus(const QuietStatus&) = delete;
  QuietStatus& operator=(const QuietStatus&) = delete;
  static void checkException(QuietStatus*) {}
};

// The bytes of names are taken as they are (utf8_filename); the embedded engine is named, or a colon in a file's path would be read as
// "HOST:FILE".
void describe(ParameterBlock& block, const Access& access) {
  block.put(isc_dpb_utf8_filename);
  block.put(isc_dpb_sql_dialect, 3);
  block.put(isc_dpb_user_name, access.user);
  if (access.embedded) {
    block.put(isc_dpb_config, std::string("Providers=Engine12"));
  } else {
    block.put(isc_dpb_password, access.password);
    block.put(isc_dpb_connect_timeout, 20);
  }
}

[[noreturn]] void does_not_fit(const std::string& subject) {
  throw Error(ExitStatus::internal, subject + ": a value does not fit its parameter", "report this as a defect");
}

bool is_time(unsigned type) { return type == SQL_TIMESTAMP || type == SQL_TYPE_DATE || type == SQL_TYPE_TIME; }

// As ISO 8601 has it, with a blank; converted by Firebird it would read 14-NOV-2023.
std::string time_text(unsigned type, const unsigned char* at) {
  std::string text;
  unsigned year = 0, month = 0, day = 0, hours = 0, minutes = 0, seconds = 0, fractions = 0;
  if (type != SQL_TYPE_TIME) {
    ISC_DATE date = 0;
    std::memcpy(&date, at, sizeof date);
    master().getUtilInterface()->decodeDate(date, &year, &month, &day);
    text = fmt::format("{:04}-{:02}-{:02}", year, month, day);
    at += sizeof date;
  }
  if (type != SQL_TYPE_DATE) {
    ISC_TIME time = 0;
    std::memcpy(&time, at, sizeof time);
    master().getUtilInterface()->decodeTime(time, &hours, &minutes, &seconds, &fractions);
    text += fmt::format("{}{:02}:{:02}:{:02}.{:04}", text.empty() ? "" : " ", hours, minutes, seconds, fractions);
  }
  return text;
}

constexpr unsigned short segment_bytes = 32'768;

}  // namespace

Firebird::IMaster& master() { return *Firebird::fb_get_master_interface(); }

void skip_shutdown_at_exit() {
  static const int once = ::on_exit(
      [](int status, void*) {
        std::fflush(nullptr);
        ::_exit(status);
      },
      nullptr);
  static_cast<void>(once);
}

bool DatabaseError::no_file() const { return system_code_ == ENOENT || system_code_ == ENOTDIR; }

bool DatabaseError::raced() const {
  return system_code_ == EEXIST || code_ == isc_db_or_file_exists || code_ == isc_unique_key_violation || code_ == isc_no_dup ||
         code_ == isc_no_meta_update || code_ == isc_obj_in_use || code_ == isc_lock_conflict || code_ == isc_deadlock;
}

Status::Status(Link& link) : BaseStatusWrapper(master().getStatus()), link_(link) { forget_interruption(); }
Status::~Status() { dispose(); }

void Status::checkException(Status* status) {
  if (status->dirty && (status->getState() & Firebird::IStatus::STATE_ERRORS)) raise(status->status, status->link_);
}

Attachment Attachment::attach(const Access& access) {
  Attachment made(access);
  Status status(made.link());
  ParameterBlock block(status, Firebird::IXpbBuilder::DPB);
  describe(block, access);
  Owned<Firebird::IProvider> provider(master().getDispatcher());
  made.attachment_.reset(provider->attachDatabase(&status, access.address.c_str(), block.size(), block.bytes()));
  return made;
}

Attachment Attachment::create(const Access& access, bool forced_writes) {
  Attachment made(access);
  Status status(made.link());
  ParameterBlock block(status, Firebird::IXpbBuilder::DPB);
  describe(block, access);
  block.put(isc_dpb_page_size, 16'384);
  block.put(isc_dpb_force_write, forced_writes ? 1 : 0);
  block.put(isc_dpb_overwrite, 0);
  Owned<Firebird::IProvider> provider(master().getDispatcher());
  made.attachment_.reset(provider->createDatabase(&status, access.address.c_str(), block.size(), block.bytes()));
  return made;
}

Attachment::~Attachment() {
  if (!attachment_) return;
  QuietStatus status;
  if (!link_->is_dead()) attachment_->detach(&status);
  if (!status.hasData()) static_cast<void>(attachment_.release());  // a successful detach has let it go already
}

Transaction::Transaction(const Attachment& attachment, Isolation isolation) : attachment_(attachment), link_(attachment.link()) {
  Status status(link_);
  ParameterBlock block(status, Firebird::IXpbBuilder::TPB);
  if (isolation == Isolation::read) {
    block.put(isc_tpb_concurrency);
    block.put(isc_tpb_read);
  } else {
    block.put(isc_tpb_read_committed);
    block.put(isc_tpb_rec_version);
    block.put(isc_tpb_write);
    if (isolation == Isolation::write_at_once) {
      block.put(isc_tpb_nowait);
    } else {
      block.put(isc_tpb_wait);
      block.put(isc_tpb_lock_timeout, 60);
    }
  }
  transaction_.reset(attachment.raw().startTransaction(&status, block.size(), block.bytes()));
}

Transaction::~Transaction() {
  if (!transaction_) return;
  QuietStatus status;
  if (!link_.is_dead()) transaction_->rollback(&status);
  if (!status.hasData()) static_cast<void>(transaction_.release());
}

void Transaction::commit() {
  Status status(link_);
  transaction_->commit(&status);
  static_cast<void>(transaction_.release());
}

void Transaction::execute(const std::string& sql) {
  Status status(link_);
  attachment_.raw().execute(&status, transaction_.get(), static_cast<unsigned>(sql.size()), sql.c_str(), 3, nullptr, nullptr, nullptr, nullptr);
}

Statement::Statement(Transaction& transaction, const std::string& sql, Output output)
    : attachment_(transaction.attachment()), link_(attachment_.link()) {
  Status status(link_);
  statement_.reset(attachment_.raw().prepare(&status, &transaction.raw(), static_cast<unsigned>(sql.size()), sql.c_str(), 3,
                                             Firebird::IStatement::PREPARE_PREFETCH_METADATA));
  input_metadata_.reset(statement_->getInputMetadata(&status));
  output_metadata_.reset(statement_->getOutputMetadata(&status));
  if (output == Output::text) {
    Owned<Firebird::IMetadataBuilder> builder(output_metadata_->getBuilder(&status));
    for (unsigned i = 0, count = output_metadata_->getCount(&status); i < count; ++i) {
      const unsigned type = output_metadata_->getType(&status, i);
      if (type == SQL_BLOB || type == SQL_VARYING || is_time(type)) continue;
      if (type != SQL_TEXT) {
        builder->setLength(&status, i, 40);  // the longest number, timestamp or Boolean
        builder->setCharSet(&status, i, 0);
      }
      builder->setType(&status, i, SQL_VARYING);
    }
    output_metadata_.reset(builder->getMetadata(&status));
  }
  inputs_ = slots_of(status, *input_metadata_);
  outputs_ = slots_of(status, *output_metadata_);
  input_.resize(input_metadata_->getMessageLength(&status));
  output_.resize(output_metadata_->getMessageLength(&status));
}

bool Statement::has_cursor() const {
  Status status(link_);
  return (statement_->getFlags(&status) & Firebird::IStatement::FLAG_HAS_CURSOR) != 0;
}

Statement::~Statement() {
  if (!link_.is_dead()) return;
  static_cast<void>(cursor_.release());
  static_cast<void>(statement_.release());
}

std::vector<Statement::Slot> Statement::slots_of(Status& status, Firebird::IMessageMetadata& metadata) {
  std::vector<Slot> slots(metadata.getCount(&status));
  for (unsigned i = 0; i < slots.size(); ++i) {
    slots[i] = {metadata.getType(&status, i), metadata.getLength(&status, i), metadata.getOffset(&status, i), metadata.getNullOffset(&status, i),
                metadata.getAlias(&status, i)};
  }
  return slots;
}

const Statement::Slot& Statement::parameter(unsigned index) {
  const Slot& slot = inputs_.at(index);
  constexpr short present = 0;
  std::memcpy(&input_[slot.null_offset], &present, sizeof present);
  return slot;
}

template <typename Value>
void Statement::put(const Slot& slot, std::int64_t value) {
  if (value < std::numeric_limits<Value>::min() || value > std::numeric_limits<Value>::max()) does_not_fit(attachment_.subject());
  const auto narrow = static_cast<Value>(value);
  std::memcpy(&input_[slot.offset], &narrow, sizeof narrow);
}

void Statement::set(unsigned index, std::int64_t value) {
  const Slot& slot = parameter(index);
  switch (slot.type) {
    case SQL_SHORT: return put<std::int16_t>(slot, value);
    case SQL_LONG: return put<std::int32_t>(slot, value);
    case SQL_INT64: return put<std::int64_t>(slot, value);
    default: does_not_fit(attachment_.subject());
  }
}

void Statement::set(unsigned index, std::string_view bytes) {
  const Slot& slot = parameter(index);
  if (bytes.size() > slot.length) does_not_fit(attachment_.subject());
  if (slot.type == SQL_VARYING) {
    const auto length = static_cast<unsigned short>(bytes.size());
    std::memcpy(&input_[slot.offset], &length, sizeof length);
    std::memcpy(&input_[slot.offset] + sizeof length, bytes.data(), bytes.size());
  } else if (slot.type == SQL_TEXT && bytes.size() == slot.length) {
    std::memcpy(&input_[slot.offset], bytes.data(), bytes.size());
  } else {
    does_not_fit(attachment_.subject());
  }
}

void Statement::set_null(unsigned index) {
  constexpr short absent = -1;
  std::memcpy(&input_[inputs_.at(index).null_offset], &absent, sizeof absent);
}

void Statement::set_blob(Transaction& transaction, unsigned index, std::string_view bytes) {
  const Slot& slot = parameter(index);
  if (slot.type != SQL_BLOB) does_not_fit(attachment_.subject());
  Status status(link_);
  ISC_QUAD id{};
  Owned<Firebird::IBlob> blob(attachment_.raw().createBlob(&status, &transaction.raw(), &id, 0, nullptr));
  for (; !bytes.empty(); bytes.remove_prefix(std::min<std::size_t>(bytes.size(), segment_bytes)))
    blob->putSegment(&status, static_cast<unsigned>(std::min<std::size_t>(bytes.size(), segment_bytes)), bytes.data());
  blob->close(&status);
  static_cast<void>(blob.release());
  std::memcpy(&input_[slot.offset], &id, sizeof id);
}

void Statement::execute(Transaction& transaction) {
  Status status(link_);
  statement_->execute(&status, &transaction.raw(), input_metadata_.get(), input_.data(), output_metadata_.get(), output_.data());
}

void Statement::open(Transaction& transaction) {
  Status status(link_);
  cursor_.reset();
  cursor_.reset(statement_->openCursor(&status, &transaction.raw(), input_metadata_.get(), input_.data(), output_metadata_.get(), 0));
}

bool Statement::fetch() {
  Status status(link_);
  if (cursor_->fetchNext(&status, output_.data()) == Firebird::IStatus::RESULT_OK) return true;
  cursor_->close(&status);
  static_cast<void>(cursor_.release());
  return false;
}

bool Statement::is_null(unsigned index) const {
  short null = 0;
  std::memcpy(&null, &output_[outputs_.at(index).null_offset], sizeof null);
  return null != 0;
}

std::int64_t Statement::integer(unsigned index) const {
  const Slot& slot = outputs_.at(index);
  if (is_null(index)) return 0;
  auto read = [&]<typename Value>(Value value) -> std::int64_t {
    std::memcpy(&value, &output_[slot.offset], sizeof value);
    return value;
  };
  switch (slot.type) {
    case SQL_SHORT: return read(std::int16_t{});
    case SQL_LONG: return read(std::int32_t{});
    case SQL_INT64: return read(std::int64_t{});
    default: does_not_fit(attachment_.subject());
  }
}

std::string Statement::text(Transaction& transaction, unsigned index, std::size_t most) const {
  const Slot& slot = outputs_.at(index);
  if (is_null(index)) return {};
  const unsigned char* at = &output_[slot.offset];
  if (slot.type == SQL_TEXT) return {reinterpret_cast<const char*>(at), slot.length};
  if (slot.type == SQL_VARYING) {
    unsigned short length = 0;
    std::memcpy(&length, at, sizeof length);
    return {reinterpret_cast<const char*>(at) + sizeof length, std::min<unsigned>(length, slot.length)};
  }
  if (is_time(slot.type)) return time_text(slot.type, at);
  if (slot.type != SQL_BLOB) does_not_fit(attachment_.subject());
  Status status(link_);
  ISC_QUAD id{};
  std::memcpy(&id, at, sizeof id);
  Owned<Firebird::IBlob> blob(attachment_.raw().openBlob(&status, &transaction.raw(), &id, 0, nullptr));
  std::string bytes, buffer(segment_bytes, '\0');
  while (bytes.size() < most) {
    unsigned length = 0;
    const int result = blob->getSegment(&status, segment_bytes, buffer.data(), &length);
    if (result == Firebird::IStatus::RESULT_NO_DATA) break;
    bytes.append(buffer, 0, std::min<std::size_t>(length, most - bytes.size()));
  }
  blob->close(&status);
  static_cast<void>(blob.release());
  return bytes;
}

}  // namespace syncropy::firebird
