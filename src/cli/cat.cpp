#include <unistd.h>

#include <csignal>
#include <cstring>

#include "cli/verbs.hpp"
#include "server/content.hpp"
#include "server/dataset-source.hpp"
#include "util/escape.hpp"

namespace syncropy {
namespace {

constexpr std::uint64_t verified_before = 64 << 20;

const char* noun_of(FileType type) {
  switch (type) {
    case FileType::regular: return "a regular file";
    case FileType::folder: return "a folder";
    case FileType::symlink: return "a symbolic link";
    case FileType::block_device: return "a block device";
    case FileType::character_device: return "a character device";
    case FileType::fifo: return "a FIFO";
    case FileType::socket: return "a socket";
  }
  return "something unknown";
}

void expect_content(const Entry& entry, const std::string& where) {
  if (entry.stat.type == FileType::symlink && !entry.details.link_target.empty())
    throw Error(ExitStatus::usage, where + " is a symbolic link to " + escape(entry.details.link_target), "name the file it points to");
  if (entry.stat.type != FileType::regular)
    throw Error(ExitStatus::usage, where + " is " + noun_of(entry.stat.type) + ", not a regular file",
                entry.stat.type == FileType::folder ? "'syncropy ls' shows what is in it, 'syncropy export' writes it as a tar" : "'syncropy ls' shows what is known of it");
  if (!entry.digest) throw Error(ExitStatus::no_input, where + " has no content in the dataset: it could not be read when it was backed up", "look into another dataset: 'syncropy list' shows them");
}

Fd open_content(DatasetSource& source, const Entry& entry, const std::string& where) {
  int code = 0;
  Fd file = source.open_content(entry, code);
  if (file) return file;
  const std::string why = code == ENOENT ? "is missing" : code == EBADMSG ? "has another size or type than was backed up" : "cannot be opened: " + std::string(std::strerror(code));
  throw Error(ExitStatus::data, where + ": the stored file " + why, "take it from another dataset: 'syncropy list' shows them");
}

void expect_intact(ContentReader& content, const std::string& where, const char* printed) {
  if (!content.is_intact()) throw Error(ExitStatus::data, where + ": the stored content is not what was backed up; " + printed, "take it from another dataset: 'syncropy list' shows them");
}

}  // namespace

ExitStatus verb_cat(const std::string& config, const std::string& dataset, const std::string& path, const std::string& from) {
  std::signal(SIGPIPE, SIG_IGN);
  DatasetSource source = open_source(config, dataset, from);
  SelectedEntries entries(source, {{path}, {}, {}});
  ChosenEntry chosen;
  while (entries.next(chosen) && chosen.on_the_way) continue;
  const Entry& entry = chosen.entry;
  const std::string where = "/" + escape(entry.path) + " of " + source.name();
  expect_content(entry, where);
  ContentReader::Piece piece;
  if (data_bytes(entry) <= verified_before) {
    ContentReader content(open_content(source, entry, where), entry);
    while (content.next(piece)) continue;
    expect_intact(content, where, "nothing was printed");
  }
  ContentReader content(open_content(source, entry, where), entry);
  OutputStream out(STDOUT_FILENO, "standard output");
  while (content.next(piece)) {
    out.write_zeros(piece.hole);
    out.write(piece.data);
  }
  out.flush();
  expect_intact(content, where, "so is what was printed");
  return ExitStatus::success;
}

}  // namespace syncropy
