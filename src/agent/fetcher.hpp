#pragma once
// Answers fetch requests: reads content and attributes by descriptor and hands the answers to the wire.

#include <cstdint>
#include <functional>
#include <unordered_map>

#include "agent/access.hpp"
#include "scan/details.hpp"
#include "util/folder.hpp"
#include "wire/frame.hpp"
#include "wire/messages.hpp"

namespace syncropy {

// One per worker thread.
class Fetcher {
 public:
  // `root` is what entry paths are relative to. `between` is called every few MiB that are read or hashed: what it throws passes through
  // answer(), and so ends a reading whose session is over.
  Fetcher(const Fd& root, const ReadAccess& access, FrameWriter& out, std::function<void()> between = {})
      : folders_(root.duplicate()), access_(access), out_(out), between_(std::move(between)) {}
  // This one may be read though it is the kernel's own: a wanted path lies on it.
  void allow_filesystem(std::uint64_t filesystem) { entered_[filesystem] = true; }
  // Sends exactly one closing answer (file, end or failed) for the request. Throws only what ends the session.
  void answer(const FetchRequest& request);

 private:
  struct Reading;
  void answer_regular(const FetchRequest& request, int fd);
  [[nodiscard]] bool may_enter(int folder, const std::string& name, std::uint64_t filesystem);
  void answer_other(const FetchRequest& request, int fd);
  bool send_content(const FetchRequest& request, int fd, Reading& reading);
  void send_failed(const FetchRequest& request, int code, std::string_view tried);

  FolderCursor folders_;
  const ReadAccess& access_;
  FrameWriter& out_;
  std::function<void()> between_;
  AccountNames names_;
  std::unordered_map<std::uint64_t, bool> entered_;  // by number: whether a listing would enter that filesystem
  std::string buffer_;
};

}  // namespace syncropy
