#include <sys/socket.h>

#include "transport/channel.hpp"
#include "transport/tls.hpp"

namespace syncropy {
namespace {

class PlainStream : public ByteStream {
 public:
  PlainStream(Socket socket, unsigned stall_seconds) : channel_(std::move(socket), "the peer", stall_seconds) {}
  std::size_t read_some(std::span<std::byte> into) override { return channel_.receive(into); }
  void write_all(std::span<const std::byte> bytes) override { channel_.send_all(bytes); }
  void finish() noexcept override { channel_.end_sending(); }
  void abort() noexcept override { channel_.abort(); }

 private:
  Channel channel_;
};

std::string kind_of(const Socket& socket) {
  int domain = 0;
  socklen_t size = sizeof domain;
  if (::getsockopt(socket.fd.get(), SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && domain == AF_UNIX) return "unix";
  return socket.local ? "loopback" : socket.peer;
}

}  // namespace

SecuredStream plain_stream(Socket socket, unsigned stall_seconds) {
  SecuredStream secured;
  secured.peer.plain = kind_of(socket);
  secured.stream = std::make_unique<PlainStream>(std::move(socket), stall_seconds);
  return secured;
}

}  // namespace syncropy
