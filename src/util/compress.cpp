#include "util/compress.hpp"

#include <zstd.h>
#include <zstd_errors.h>

#include <new>

namespace syncropy {
namespace {

// No memory is no damage: what cannot be unpacked for want of it is not to be taken for lost.
void expect_memory(std::size_t result) {
  if (ZSTD_isError(result) && ZSTD_getErrorCode(result) == ZSTD_error_memory_allocation) throw std::bad_alloc();
}

}  // namespace

std::string compress(std::string_view bytes, int level) {
  std::string out(ZSTD_compressBound(bytes.size()), '\0');
  const std::size_t size = ZSTD_compress(out.data(), out.size(), bytes.data(), bytes.size(), level);
  expect_memory(size);
  if (ZSTD_isError(size)) throw Error(ExitStatus::internal, std::string("zstd cannot compress: ") + ZSTD_getErrorName(size));
  out.resize(size);
  return out;
}

std::string decompress(std::string_view bytes, std::size_t bound, ExitStatus status, std::string_view subject) {
  const unsigned long long claimed = ZSTD_getFrameContentSize(bytes.data(), bytes.size());
  if (claimed == ZSTD_CONTENTSIZE_ERROR || claimed == ZSTD_CONTENTSIZE_UNKNOWN)
    throw Error(status, std::string(subject) + ": is not a Zstandard frame of known size");
  if (claimed > bound)
    throw Error(status, std::string(subject) + ": would unpack to " + std::to_string(claimed) + " bytes where " + std::to_string(bound) + " is the limit");
  std::string out(claimed, '\0');
  const std::size_t size = ZSTD_decompress(out.data(), out.size(), bytes.data(), bytes.size());
  expect_memory(size);
  if (ZSTD_isError(size) || size != claimed) throw Error(status, std::string(subject) + ": does not unpack to what it claims");
  return out;
}

}  // namespace syncropy
