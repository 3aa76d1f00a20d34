#pragma once
// A tar stream as pax(1) of POSIX.1-2017 says it ("pax Interchange Format"), with the records of others that GNU tar and libarchive both
// read: SCHILY.xattr.NAME and SCHILY.acl.access/default (star, GNU tar, libarchive), GNU.sparse 1.0.
//
// Names that do not fit the header go into GNU's records L and K, not into pax `path` and `linkpath`: those are UTF-8 by definition, and
// readers convert or refuse them in other locales. So every name is the bytes it was.

#include <cstdint>
#include <string>
#include <string_view>

#include "model/entry.hpp"
#include "server/content.hpp"

namespace syncropy {

class PaxWriter {
 public:
  // `numeric`: accounts by number only, none by name. `out` outlives this.
  PaxWriter(OutputStream& out, bool numeric) : out_(out), numeric_(numeric) {}

  // A member that `entry` describes, of any type but a socket. After a regular file come exactly data_bytes(entry) bytes of data() and then
  // end_content().
  void add(const Entry& entry);
  void data(std::string_view bytes);
  void end_content();
  // A member that is another name of the member for `leader`.
  void add_link(const Entry& entry, std::string_view leader);
  // The end of the stream.
  void finish();

 private:
  struct Header;
  void put_extra(const char* name, char type, std::string_view content);
  void put_header(const Header& header);
  void put_member(const Entry& entry, Header& header, std::string_view records);
  void pad();

  OutputStream& out_;
  bool numeric_;
};

}  // namespace syncropy
