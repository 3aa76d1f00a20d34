#include "repository/damage.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>

#include "model/entry.hpp"
#include "model/limits.hpp"
#include "util/bytes.hpp"
#include "util/digest.hpp"
#include "util/error.hpp"
#include "util/file.hpp"

namespace syncropy {
namespace {

constexpr std::string_view magic = "SYNCROPY-DAMAGED-1\n";
constexpr const char* damaged_file = "damaged";
constexpr std::uint8_t manifest_bit = 1, everything_bit = 2;
// A path's bytes, its length, its kind; and the head with the checksum.
constexpr std::size_t damaged_file_bytes = limits::damaged_bytes + limits::damaged_paths * 4 + 1'024;

struct Words {
  const char *word, *description;
};
constexpr std::array words{
    Words{"unexpected", "is in the tree, but not in the manifest"},
    Words{"mode", "has other permissions than it was stored with"},
    Words{"time", "has another modification time than was backed up"},
    Words{"target", "points elsewhere than was backed up"},
    Words{"size", "has another size than was backed up"},
    Words{"type", "is of another type than was backed up"},
    Words{"content", "does not hold what was backed up"},
    Words{"unreadable", "cannot be read"},
    Words{"missing", "is missing"},
};

const Words& words_of(DamageKind kind) { return words.at(static_cast<std::size_t>(kind) - 1); }

}  // namespace

const char* describe(DamageKind kind) { return words_of(kind).description; }
const char* word_of(DamageKind kind) { return words_of(kind).word; }

DamageList DamageList::read(int dataset_folder) {
  DamageList list;
  try {
    const std::string bytes = read_file(dataset_folder, damaged_file, damaged_file_bytes, ExitStatus::data);
    if (!bytes.starts_with(magic) || bytes.size() < magic.size() + SHA256_DIGEST_SIZE) throw Error(ExitStatus::data, "not such a list");
    const std::string_view body = std::string_view(bytes).substr(0, bytes.size() - SHA256_DIGEST_SIZE);
    if (as_bytes(digest_of(body)) != std::string_view(bytes).substr(body.size())) throw Error(ExitStatus::data, "not what was written");
    ByteReader in(body.substr(magic.size()), ExitStatus::data, damaged_file);
    const std::uint8_t bits = in.byte();
    list.manifest_ = (bits & manifest_bit) != 0;
    list.everything_ = (bits & everything_bit) != 0;
    for (std::uint64_t left = in.unsigned_at_most(limits::damaged_paths); left > 0; --left) {
      const std::string path(in.string_at_most(limits::path_bytes));
      const std::uint8_t kind = in.byte();
      if (kind < 1 || kind > words.size()) in.reject("holds damage of unknown kind");
      list.add(path, static_cast<DamageKind>(kind));
    }
    in.expect_end();
  } catch (const SystemError& error) {
    if (error.code() != ENOENT) list.add_everything();
  } catch (const Error&) {
    list.add_everything();
  }
  return list;
}

void DamageList::add(const std::string& path, DamageKind kind) {
  if (everything_) return;
  const auto [place, is_new] = paths_.try_emplace(path, kind);
  if (!is_new) {
    place->second = std::max(place->second, kind);
    return;
  }
  bytes_ += path.size();
  if (paths_.size() > limits::damaged_paths || bytes_ > limits::damaged_bytes) add_everything();
}

void DamageList::add_everything() {
  everything_ = true;
  paths_.clear();
  bytes_ = 0;
}

void DamageList::write(int dataset_folder, const std::string& subject) const {
  if (empty()) {
    if (::unlinkat(dataset_folder, damaged_file, 0) != 0 && errno != ENOENT) throw_errno(ExitStatus::repository, "remove", subject + "/" + damaged_file);
    if (::fsync(dataset_folder) != 0) throw_errno(ExitStatus::io, "sync", subject);
    return;
  }
  ByteWriter out;
  out.put_raw(magic);
  out.put_byte(static_cast<std::uint8_t>((manifest_ ? manifest_bit : 0) | (everything_ ? everything_bit : 0)));
  out.put_unsigned(paths_.size());
  for (const auto& [path, kind] : paths_) {
    out.put_string(path);
    out.put_byte(static_cast<std::uint8_t>(kind));
  }
  out.put_raw(as_bytes(digest_of(out.view())));
  replace_file(dataset_folder, damaged_file, out.view(), 0600);
}

}  // namespace syncropy
