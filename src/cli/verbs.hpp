#pragma once
// The verbs of syncropy(1), one file each. A verb prints; what it prints is decided below it.

#include <string>

#include "util/error.hpp"

namespace syncropy {

// `config`: a file or NAME as typed after -c, or empty: the only configuration in /etc/syncropy.
ExitStatus verb_init(const std::string& config);
ExitStatus verb_list(const std::string& config, const std::string& what, bool json);
ExitStatus verb_ls(const std::string& config, const std::string& dataset, const std::string& path, bool recursive);
ExitStatus verb_check_config(const std::string& config);
ExitStatus verb_sql(const std::string& config, const std::string& query);

// The configuration that `config` means. With none in or several in /etc/syncropy, an Error that names them.
[[nodiscard]] std::string configuration_file(const std::string& config);

}  // namespace syncropy
