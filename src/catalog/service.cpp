#include "catalog/service.hpp"

#include <array>
#include <cstring>

namespace syncropy::firebird {
namespace {

constexpr std::size_t answer_bytes = 65'000;  // the length in an answer has 16 bits
constexpr int table_lock_seconds = 10;

// "inet://host:port/database" is served by "inet://host:port/service_mgr".
std::string service_address(const Access& access) {
  if (access.embedded) return "service_mgr";
  return access.address.substr(0, access.address.find('/', std::string_view("inet://").size())) + "/service_mgr";
}

class Service {
 public:
  explicit Service(const Access& access) : link_{access.subject, access.embedded} {
    // The engine's thread may be at its last words when all has been read, and its code must not go away before it.
    if (access.embedded) skip_shutdown_at_exit();
    Status status(link_);
    ParameterBlock block(status, Firebird::IXpbBuilder::SPB_ATTACH);
    block.put(isc_spb_utf8_filename);
    block.put(isc_spb_user_name, access.user);
    if (access.embedded) block.put(isc_spb_config, std::string("Providers=Engine12"));
    else block.put(isc_spb_password, access.password);
    Owned<Firebird::IProvider> provider(master().getDispatcher());
    service_.reset(provider->attachServiceManager(&status, service_address(access).c_str(), block.size(), block.bytes()));
  }
  ~Service() {
    if (link_.is_dead()) static_cast<void>(service_.release());  // it would wait for an answer for ever
  }
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;

  template <typename Describe>
  void start(Describe describe) {
    Status status(link_);
    ParameterBlock block(status, Firebird::IXpbBuilder::SPB_START);
    describe(block);
    service_->start(&status, block.size(), block.bytes());
  }

  // Everything that the service puts out, as it comes; throws what it failed of.
  void read(const std::function<void(std::string_view)>& take) {
    static constexpr std::array<unsigned char, 1> wanted{isc_info_svc_to_eof};
    std::string answer(answer_bytes, '\0');
    for (;;) {
      Status status(link_);
      service_->query(&status, 0, nullptr, wanted.size(), wanted.data(), static_cast<unsigned>(answer.size()), reinterpret_cast<unsigned char*>(answer.data()));
      Status::checkException(&status);
      if (static_cast<unsigned char>(answer[0]) != isc_info_svc_to_eof) throw Error(ExitStatus::internal, link_.subject + ": its service answers what nobody asked for");
      const std::size_t length = static_cast<unsigned char>(answer[1]) | static_cast<std::size_t>(static_cast<unsigned char>(answer[2])) << 8;
      if (length > answer.size() - 4) throw Error(ExitStatus::internal, link_.subject + ": its service answers more than there is room for");
      if (length > 0) take(std::string_view(answer).substr(3, length));
      const auto after = static_cast<unsigned char>(answer[3 + length]);
      if (length == 0 && after != isc_info_svc_timeout && after != isc_info_data_not_ready && after != isc_info_truncated) return;
    }
  }

 private:
  Link link_;
  Owned<Firebird::IService> service_;
};

}  // namespace

void back_up(const Access& access, const std::string& database, const std::function<void(std::string_view)>& take) try {
  Service service(access);
  service.start([&](ParameterBlock& block) {
    block.put(isc_action_svc_backup);
    block.put(isc_spb_dbname, database);
    block.put(isc_spb_bkp_file, std::string("stdout"));
    block.put(isc_spb_options, isc_spb_bkp_no_garbage_collect);
  });
  service.read(take);
} catch (const DatabaseError& error) {
  // Whatever stops gbak that is neither the way to the database nor its disk is in the database itself.
  if (error.status() != ExitStatus::internal) throw;
  throw DatabaseError(ExitStatus::data, error.what(), "make the catalog anew with 'syncropy rebuild-catalog'; on a server, drop the database before",
                      error.code(), error.system_code());
}

namespace {

// Calls `line` for each line of what the service puts out.
void read_lines(Service& service, const std::function<void(std::string_view)>& line) {
  std::string text;
  service.read([&](std::string_view piece) {
    text += piece;
    for (std::size_t end; (end = text.find('\n')) != std::string::npos; text.erase(0, end + 1)) line(std::string_view(text).substr(0, end));
  });
  if (!text.empty()) line(text);
}

// Lines are as of "05:53:40.69 Relation 137 (ENTRY) is ok"; those of a problem say so.
bool tells_of_damage(std::string_view line) {
  for (const char* word : {"rror", "arning", "orrupt", "amage"})
    if (line.find(word) != std::string_view::npos) return true;
  return false;
}

}  // namespace

bool validate_alone(const Access& access, const std::string& database, const std::function<void(std::string_view)>& line) {
  try {
    Service service(access);
    service.start([&](ParameterBlock& block) {
      block.put(isc_action_svc_repair);
      block.put(isc_spb_dbname, database);
      block.put(isc_spb_options, isc_spb_rpr_validate_db | isc_spb_rpr_full | isc_spb_rpr_check_db);
    });
    read_lines(service, line);
    return true;
  } catch (const DatabaseError& error) {
    // Where somebody else is attached it is a parameter that is not taken.
    if (error.status() == ExitStatus::busy || error.status() == ExitStatus::unavailable || error.code() == isc_bad_dpb_content) return false;
    if (error.status() != ExitStatus::internal) throw;
    line(error.what());  // the count of what is wrong comes as a failure
    return true;
  }
}

void validate(const Access& access, const std::string& database, const std::function<void(std::string_view)>& line) {
  Service service(access);
  service.start([&](ParameterBlock& block) {
    block.put(isc_action_svc_validate);
    block.put(isc_spb_dbname, database);
    block.put(isc_spb_val_lock_timeout, table_lock_seconds);
  });
  read_lines(service, [&](std::string_view text) { line(tells_of_damage(text) ? text : std::string_view()); });
}

}  // namespace syncropy::firebird
