#pragma once
// Firebird's object interface (firebird/Interface.h, "Using OO API" in the Firebird documentation) with owners: attachment, transaction,
// prepared statement with its message buffers, errors as Error. Nothing here knows of backups.

#include <firebird/Interface.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "util/error.hpp"

namespace syncropy::firebird {

// What Firebird said, mapped to the exit status and the remedy of its cause. `code()` is the first gds code, `system_code()` the errno
// within, 0 where there is none.
class DatabaseError : public Error {
 public:
  DatabaseError(ExitStatus status, const std::string& what, std::string remedy, long code, int system_code)
      : Error(status, what, std::move(remedy)), code_(code), system_code_(system_code) {}
  [[nodiscard]] long code() const { return code_; }
  [[nodiscard]] int system_code() const { return system_code_; }
  // There is no file of that name.
  [[nodiscard]] bool no_file() const;
  // The other of two who do the same thing at the same time was faster: worth a second look.
  [[nodiscard]] bool raced() const;

 private:
  long code_;
  int system_code_;
};

// The entry to all that the client library has; there is one a process.
[[nodiscard]] Firebird::IMaster& master();

// The client library tidies up at the end of the process, and what a lost link left behind makes it crash there (3.0.11: SIGSEGV in
// fb_shutdown). From this call on the process ends before that: with its status, its output written.
void skip_shutdown_at_exit();

// What all calls on one attachment share. Once a server has answered that the attachment is gone it may answer nothing more and keep the
// connection open: the client library would wait for the reply to a rollback for ever. So a lost link is never used again, not even to
// tidy up; what hangs on it stays behind until the process ends.
struct Link {
  std::string subject;
  bool embedded = false;
  bool lost = false;
  [[nodiscard]] bool is_dead() const { return lost && !embedded; }
};

// The status vector of one call; a failed call throws DatabaseError about the link's subject.
class Status : public Firebird::BaseStatusWrapper<Status> {
 public:
  explicit Status(Link& link);
  ~Status();
  Status(const Status&) = delete;
  Status& operator=(const Status&) = delete;
  static void checkException(Status* status);

 private:
  Link& link_;
};

// A block of parameters: of an attachment, a transaction or a service, as `kind` says (IXpbBuilder).
class ParameterBlock {
 public:
  ParameterBlock(Status& status, unsigned kind) : status_(status), builder_(master().getUtilInterface()->getXpbBuilder(&status, kind, nullptr, 0)) {}
  ~ParameterBlock() { builder_->dispose(); }
  ParameterBlock(const ParameterBlock&) = delete;
  ParameterBlock& operator=(const ParameterBlock&) = delete;
  void put(unsigned char tag) { builder_->insertTag(&status_, tag); }
  void put(unsigned char tag, int value) { builder_->insertInt(&status_, tag, value); }
  void put(unsigned char tag, const std::string& value) { builder_->insertString(&status_, tag, value.c_str()); }
  [[nodiscard]] unsigned size() { return builder_->getBufferLength(&status_); }
  [[nodiscard]] const unsigned char* bytes() { return builder_->getBuffer(&status_); }

 private:
  Status& status_;
  Firebird::IXpbBuilder* builder_;
};

// Interfaces are reference counted and let go by release(), which does not throw.
struct Release {
  void operator()(Firebird::IReferenceCounted* interface) const { interface->release(); }
};
template <typename Interface>
using Owned = std::unique_ptr<Interface, Release>;

// Where a database is and who comes. `subject` names it in errors.
struct Access {
  std::string address;  // a file, or inet://host:port/database
  std::string user, password;
  bool embedded = false;
  std::string subject;
};

// One snapshot, read only; or read committed, waiting for the locks of others up to a minute; or likewise without waiting.
enum class Isolation { read, write, write_at_once };

class Attachment {
 public:
  [[nodiscard]] static Attachment attach(const Access& access);
  // A new database with pages of 16 KiB. Throws raced() where one is there by now. Without forced writes nothing is on the disk before a sync
  // of its file: for one that nobody needs before that.
  [[nodiscard]] static Attachment create(const Access& access, bool forced_writes = true);
  Attachment(Attachment&&) noexcept = default;
  ~Attachment();

  [[nodiscard]] const std::string& subject() const { return link_->subject; }
  [[nodiscard]] Link& link() const { return *link_; }
  [[nodiscard]] Firebird::IAttachment& raw() const { return *attachment_; }

 private:
  explicit Attachment(const Access& access) : link_(std::make_unique<Link>(Link{access.subject, access.embedded})) {}
  std::unique_ptr<Link> link_;  // stays where it is when this moves: statements refer to it
  Owned<Firebird::IAttachment> attachment_;
};

// Rolled back by its destructor unless committed.
class Transaction {
 public:
  Transaction(const Attachment& attachment, Isolation isolation);
  ~Transaction();
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;
  void commit();
  // Runs one statement that has neither parameters nor rows.
  void execute(const std::string& sql);
  [[nodiscard]] Firebird::ITransaction& raw() const { return *transaction_; }
  [[nodiscard]] const Attachment& attachment() const { return attachment_; }

 private:
  const Attachment& attachment_;
  Link& link_;
  Owned<Firebird::ITransaction> transaction_;
};

// A prepared statement with the buffers of its parameters and of its current row. Numbers of parameters and columns start at 0.
class Statement {
 public:
  enum class Output { typed, text };  // as declared; or every column but BLOBs converted to text by Firebird
  Statement(Transaction& transaction, const std::string& sql, Output output = Output::typed);
  ~Statement();
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;

  // Parameters keep their values from one execution to the next. A value that does not fit its parameter is Error internal.
  void set(unsigned index, std::int64_t value);
  void set(unsigned index, std::string_view bytes);
  void set_null(unsigned index);
  // A BLOB with these bytes, made in `transaction`.
  void set_blob(Transaction& transaction, unsigned index, std::string_view bytes);

  // A SELECT, or what else may be opened.
  [[nodiscard]] bool has_cursor() const;
  void execute(Transaction& transaction);
  void open(Transaction& transaction);
  // The next row of what open() opened, or false behind the last, which also closes it.
  [[nodiscard]] bool fetch();
  void close() { cursor_.reset(); }

  [[nodiscard]] unsigned columns() const { return static_cast<unsigned>(outputs_.size()); }
  [[nodiscard]] const std::string& column_name(unsigned index) const { return outputs_.at(index).name; }
  [[nodiscard]] bool is_null(unsigned index) const;
  [[nodiscard]] std::int64_t integer(unsigned index) const;
  // Text, bytes, a date or time as in 2023-11-14 22:13:20.1230, or at most `most` bytes of a BLOB read in `transaction`.
  [[nodiscard]] std::string text(Transaction& transaction, unsigned index, std::size_t most = 1U << 20) const;

 private:
  struct Slot {
    unsigned type = 0, length = 0, offset = 0, null_offset = 0;
    std::string name;
  };
  static std::vector<Slot> slots_of(Status& status, Firebird::IMessageMetadata& metadata);
  template <typename Value>
  void put(const Slot& slot, std::int64_t value);
  [[nodiscard]] const Slot& parameter(unsigned index);

  const Attachment& attachment_;
  Link& link_;
  Owned<Firebird::IStatement> statement_;
  Owned<Firebird::IMessageMetadata> input_metadata_, output_metadata_;
  std::vector<Slot> inputs_, outputs_;
  std::vector<unsigned char> input_, output_;
  Owned<Firebird::IResultSet> cursor_;
};

}  // namespace syncropy::firebird
