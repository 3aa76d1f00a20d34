#pragma once
// The verbs of syncropy(1), one file each. A verb prints; what it prints is decided below it.

#include <optional>
#include <string>
#include <vector>

#include "server/dataset-source.hpp"
#include "util/error.hpp"

namespace syncropy {

// `config`: a file or NAME as typed after -c, or empty: the only configuration in /etc/syncropy.
// `owner`: the user whose the repository becomes, for root; empty: the folder's, where it is there and not root's, else the service's user.
ExitStatus verb_init(const std::string& config, const std::string& owner);
// With an empty `config`: of all in /etc/syncropy.
ExitStatus verb_status(const std::string& config, bool json);
ExitStatus verb_list(const std::string& config, const std::string& what, bool json);
ExitStatus verb_ls(const std::string& config, const std::string& dataset, const std::string& path, bool recursive);
struct RestoreArguments {
  std::string dataset;              // empty with `from`
  std::vector<std::string> paths;
  std::string from;                 // a dataset's folder: neither configuration nor catalog is needed to read it
  std::string to, target, local;
  std::string existing = "fail";
  std::vector<std::string> includes, excludes, map_owner, map_group;
  bool dry_run = false, remove_others = false, numeric = false, json = false, verbose = false;
};
ExitStatus verb_restore(const std::string& config, const RestoreArguments& arguments);
struct ExportArguments {
  std::string dataset;              // empty with `from`
  std::vector<std::string> paths;
  std::string from;                 // as of RestoreArguments
  std::vector<std::string> includes, excludes;
  bool numeric = false;
};
ExitStatus verb_export(const std::string& config, const ExportArguments& arguments);
ExitStatus verb_cat(const std::string& config, const std::string& dataset, const std::string& path, const std::string& from);
ExitStatus verb_check_config(const std::string& config);
// What may follow: of `words`, a dataset and then paths in it, the last is being typed. Prints one a line, and nothing where it cannot tell.
ExitStatus verb_complete(const std::string& config, const std::vector<std::string>& words);
// `file` may be empty: the one that the configuration names.
ExitStatus verb_backup_catalog(const std::string& config, const std::string& file);
ExitStatus verb_rebuild_catalog(const std::string& config);
ExitStatus verb_empty_trash(const std::string& config);
struct VerifyArguments {
  std::string what;                 // CLIENT, CLIENT/TIER, a dataset; empty: all clients
  std::optional<double> percent;    // a sample, above 0 and at most 100
  bool idle = false, json = false, catalog = true;
};
ExitStatus verb_verify(const std::string& config, const VerifyArguments& arguments);
ExitStatus verb_sql(const std::string& config, const std::string& query);

struct CaArguments {
  std::string folder = "/var/lib/syncropy-ca";
  std::string keys, owner;          // where this server's key and certificates are, and whose the key is; empty: where its units look for them
  std::vector<std::string> names;   // init: of this server; revoke: of what is revoked
  bool force = false, json = false;
};
ExitStatus verb_ca_init(const CaArguments& arguments);
ExitStatus verb_ca_list(const CaArguments& arguments);
ExitStatus verb_ca_renew(const CaArguments& arguments);
ExitStatus verb_ca_revoke(const CaArguments& arguments);
struct EnrollArguments {
  std::string ca_folder;
  std::string client, server;       // server: where the client finds this one; empty: the first name in its certificate
  std::vector<std::string> names;   // for the certificate, besides the client's own and where the configurations say that it is
  std::string life = "1h";
  bool quiet = false;
};
// `config`: as typed after -c; empty: all in /etc/syncropy that can be read.
ExitStatus verb_enroll(const std::string& config, const EnrollArguments& arguments);
// What syncropy-enroll@.service runs.
ExitStatus verb_serve_enrolment(const std::string& ca_folder);

// The configuration that `config` means. With none in or several in /etc/syncropy, an Error that names them.
[[nodiscard]] std::string configuration_file(const std::string& config);
// All that are there.
[[nodiscard]] std::vector<std::string> configuration_files();

// The dataset in the folder `from`, or with an empty `from` the one that `dataset` names in the configuration's repository.
[[nodiscard]] DatasetSource open_source(const std::string& config, const std::string& dataset, const std::string& from);

}  // namespace syncropy
