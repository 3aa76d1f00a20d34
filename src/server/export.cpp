#include "server/export.hpp"

#include <cerrno>
#include <cstring>
#include <map>
#include <utility>

#include "server/content.hpp"
#include "server/pax-writer.hpp"
#include "util/escape.hpp"

namespace syncropy {
namespace {

constexpr std::uint64_t verified_before = 1 << 20;

class Export {
 public:
  Export(DatasetSource& source, const ExportOptions& options, int out, const ExportProblem& problem)
      : source_(source), problem_(problem), out_(out, "standard output"), tar_(out_, options.numeric) {}

  ExportCounts run(const Selection& selection) {
    SelectedEntries entries(source_, selection);
    for (ChosenEntry chosen; entries.next(chosen);)
      if (!chosen.on_the_way || !chosen.entry.path.empty()) add(chosen.entry);
    tar_.finish();
    return counts_;
  }

 private:
  // The member that later names of its inode are linked to.
  struct Leader {
    std::string path;
    std::uint64_t names_to_come;
    FileType type;
    std::optional<Digest> digest;
    bool damaged;
  };
  using Inode = std::pair<std::uint64_t, std::uint64_t>;

  void add(const Entry& entry) {
    const FileType type = entry.stat.type;
    if (type == FileType::socket) {
      ++counts_.sockets;
      return problem_(entry.path, "a socket: a tar cannot hold one; the program that listens on it makes it");
    }
    if ((entry.flags & unread) || (type == FileType::regular && !entry.digest)) {
      ++counts_.unread;
      if (type != FileType::folder) return problem_(entry.path, "left out: it could not be read when it was backed up");
      problem_(entry.path, "not all of it is here: the folder could not be read when it was backed up");
    }
    if (add_link(entry)) return;
    bool damaged = false;
    if (type == FileType::regular) {
      if (!add_file(entry, damaged)) return;
    } else {
      tar_.add(entry);
    }
    ++counts_.members;
    if (entry.stat.links > 1 && type != FileType::folder)
      leaders_.insert_or_assign(Inode{entry.stat.filesystem, entry.stat.inode}, Leader{entry.path, entry.stat.links - 1, type, entry.digest, damaged});
  }

  // Whether `entry` is another name of a member that is there. Names that were listed while the file changed may differ in content: those
  // are members of their own.
  bool add_link(const Entry& entry) {
    if (entry.stat.links < 2 || entry.stat.type == FileType::folder) return false;
    const auto found = leaders_.find({entry.stat.filesystem, entry.stat.inode});
    if (found == leaders_.end() || found->second.type != entry.stat.type || found->second.digest != entry.digest) return false;
    Leader& leader = found->second;
    tar_.add_link(entry, leader.path);
    ++counts_.members;
    if (leader.damaged) tell_damaged(entry, "in the stream, but not with the bytes that were backed up: it is another name of /" + escape(leader.path));
    if (--leader.names_to_come == 0) leaders_.erase(found);
    return true;
  }

  // False where it is left out.
  bool add_file(const Entry& entry, bool& damaged) {
    int code = 0;
    Fd file = source_.open_content(entry, code);
    if (!file) {
      tell_damaged(entry, code == ENOENT ? "left out: the stored file is missing" : code == EBADMSG ? "left out: the stored file has another size or type than was backed up"
                                                                                                   : "left out: the stored file cannot be opened: " + std::string(std::strerror(code)));
      return false;
    }
    ContentReader content(std::move(file), entry);
    ContentReader::Piece piece;
    const std::uint64_t bytes = data_bytes(entry);
    if (bytes <= verified_before) {
      small_.clear();
      while (content.next(piece)) small_ += piece.data;
      if (!content.is_intact()) {
        tell_damaged(entry, "left out: the stored content is not what was backed up");
        return false;
      }
      tar_.add(entry);
      tar_.data(small_);
    } else {
      tar_.add(entry);
      while (content.next(piece)) tar_.data(piece.data);
      damaged = !content.is_intact();
      if (damaged) tell_damaged(entry, "in the stream, but not with the bytes that were backed up: the stored content is damaged. Remove it where it was extracted");
    }
    tar_.end_content();
    counts_.bytes += bytes;
    return true;
  }

  void tell_damaged(const Entry& entry, const std::string& why) {
    ++counts_.damaged;
    problem_(entry.path, why);
  }

  DatasetSource& source_;
  const ExportProblem& problem_;
  OutputStream out_;
  PaxWriter tar_;
  std::map<Inode, Leader> leaders_;
  std::string small_;
  ExportCounts counts_;
};

}  // namespace

ExportCounts export_dataset(DatasetSource& source, const Selection& selection, const ExportOptions& options, int out, const ExportProblem& problem) {
  return Export(source, options, out, problem).run(selection);
}

}  // namespace syncropy
