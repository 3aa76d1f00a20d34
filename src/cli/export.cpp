#include <fmt/format.h>
#include <unistd.h>

#include <csignal>

#include "cli/verbs.hpp"
#include "config/settings.hpp"
#include "repository/repository.hpp"
#include "sd/journal.hpp"
#include "server/export.hpp"
#include "server/select.hpp"
#include "util/escape.hpp"

namespace syncropy {

DatasetSource open_source(const std::string& config, const std::string& dataset, const std::string& from) {
  if (!from.empty()) return DatasetSource::from_folder(from);
  const ServerSettings settings = load_server_settings(configuration_file(config), Secrets::none);
  return DatasetSource(select_dataset(Repository::open(settings.repository, false), dataset));
}

ExitStatus verb_export(const std::string& config, const ExportArguments& arguments) {
  if (::isatty(STDOUT_FILENO) != 0)
    throw Error(ExitStatus::usage, "a tar stream is not for a terminal", "send it to a file or a program: 'syncropy export ... > FILE.tar', or '| tar -xpf - -C FOLDER'");
  std::signal(SIGPIPE, SIG_IGN);
  DatasetSource source = open_source(config, arguments.dataset, arguments.from);
  const Selection selection{arguments.paths, arguments.includes, arguments.excludes};
  const ExportCounts counts = export_dataset(source, selection, {arguments.numeric}, STDOUT_FILENO,
                                             [](const std::string& path, const std::string& why) { log(Priority::warning, "/" + escape(path) + ": " + why); });
  std::string lacks;
  if (counts.damaged > 0) lacks += fmt::format("{}{} damaged in the repository", lacks.empty() ? "" : ", ", counts.damaged);
  if (counts.unread > 0) lacks += fmt::format("{}{} could not be read when backed up", lacks.empty() ? "" : ", ", counts.unread);
  if (counts.sockets > 0) lacks += fmt::format("{}{} sockets left out", lacks.empty() ? "" : ", ", counts.sockets);
  if (!lacks.empty()) log(Priority::warning, fmt::format("exported {} entries of {}: {}", counts.members, source.name(), lacks));
  if (counts.damaged > 0) return ExitStatus::data;
  return counts.unread > 0 ? ExitStatus::partial : ExitStatus::success;
}

}  // namespace syncropy
