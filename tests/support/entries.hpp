#pragma once
// Entries with every feature, for tests of codecs, manifests and the catalog.

#include <string>
#include <vector>

#include "model/entry.hpp"

namespace syncropy {

inline Entry folder_entry(std::string path) {
  Entry entry;
  entry.path = std::move(path);
  entry.stat.type = FileType::folder;
  entry.stat.mode = 0755;
  entry.stat.mtime = {1'700'000'000, 5};
  entry.stat.ctime = {1'700'000'001, 6};
  entry.stat.inode = 42;
  entry.stat.filesystem = 2049;
  entry.stat.links = 2;
  entry.details.owner = "root";
  entry.details.group = "root";
  return entry;
}

inline Entry file_entry(std::string path, std::string_view content) {
  Entry entry = folder_entry(std::move(path));
  entry.stat.type = FileType::regular;
  entry.stat.mode = 0644;
  entry.stat.links = 1;
  entry.stat.size = content.size();
  entry.digest = digest_of(content);
  return entry;
}

// One of each type and each detail, in manifest order.
inline std::vector<Entry> one_of_each() {
  std::vector<Entry> all;
  all.push_back(folder_entry(""));
  all.push_back(folder_entry("a"));
  all.back().stat.mode = 01777;
  all.back().details.default_acl = {{AclTag::user_owner, 7, 0, ""}, {AclTag::user, 5, 1000, "anna"}, {AclTag::group_owner, 5, 0, ""}, {AclTag::mask, 5, 0, ""}, {AclTag::other, 0, 0, ""}};
  all.push_back(file_entry("a/acl", "secret"));
  all.back().stat.uid = 1000;
  all.back().stat.gid = UINT32_MAX;
  all.back().details.owner = "anna";
  all.back().details.group = "";
  all.back().details.access_acl = {{AclTag::user_owner, 6, 0, ""}, {AclTag::group_owner, 4, 0, ""}, {AclTag::group, 6, 4'000'000'000U, ""}, {AclTag::mask, 6, 0, ""}, {AclTag::other, 0, 0, ""}};
  all.push_back(folder_entry("a/b"));
  all.back().stat.type = FileType::block_device;
  all.back().stat.device_major = 259;
  all.back().stat.device_minor = 1'048'575;
  all.push_back(all.back());
  all.back().path = "a/c";
  all.back().stat.type = FileType::character_device;
  all.push_back(folder_entry("a/fifo"));
  all.back().stat.type = FileType::fifo;
  all.push_back(file_entry("a/link1", "shared"));
  all.back().stat.links = 2;
  all.push_back(all.back());
  all.back().path = "a/link2";
  all.push_back(folder_entry("a/sock"));
  all.back().stat.type = FileType::socket;
  all.push_back(file_entry("a/sparse", ""));
  all.back().stat.size = UINT64_C(5) << 30;
  all.back().details.sparse = true;
  all.back().details.extents = {{4096, 4096}, {UINT64_C(1) << 32, 1}, {(UINT64_C(5) << 30) - 1, 1}};
  all.push_back(file_entry("a/suid", "x"));
  all.back().stat.mode = 06755;
  all.back().details.xattrs = {{"security.capability", std::string("\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", 20)}, {"user.note", std::string("v\0w", 3)}};
  all.push_back(folder_entry("a/symlink"));
  all.back().stat.type = FileType::symlink;
  all.back().stat.mode = 0777;
  all.back().stat.size = 7;
  all.back().details.link_target = "../to\n\xff";
  all.push_back(file_entry("a/unread", ""));
  all.back().flags = unread;
  all.back().digest.reset();
  all.push_back(file_entry("a\n\x1b[31m\xff name", "odd"));
  all.back().stat.mtime = {-1, 999'999'999};
  all.back().stat.ctime = {INT64_C(1) << 40, 0};
  all.back().flags = racy | unstable;
  return all;
}

}  // namespace syncropy
