#pragma once
// Sleep and shutdown wait for a backup.

#include <string>

namespace syncropy {

// While one of these lives, the machine neither sleeps nor shuts down unless somebody insists (systemd-inhibit(1), mode block): a connection
// to syncropy-inhibit.socket, which systemd answers by running systemd-inhibit until it ends. systemd-logind itself would refuse an
// unprivileged service without a session. Where nobody listens nothing is held off. Several at once are one. Thread-safe, does not throw.
class Inhibitor {
 public:
  explicit Inhibitor(const std::string& socket = "/run/syncropy-inhibit.socket") noexcept;
  ~Inhibitor();
  Inhibitor(const Inhibitor&) = delete;
  Inhibitor& operator=(const Inhibitor&) = delete;
  // Empty where it was asked for, else why not.
  [[nodiscard]] static std::string why_not();
};

}  // namespace syncropy
