#include "model/capability.hpp"

#include <fmt/format.h>
#include <linux/capability.h>
#include <sys/capability.h>

#include <cstdint>
#include <memory>

namespace syncropy {
namespace {

struct Free {
  void operator()(void* memory) const { ::cap_free(memory); }
};

std::uint32_t little_endian(std::string_view bytes, std::size_t at) {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < 4; ++i) value |= std::uint32_t{static_cast<std::uint8_t>(bytes[at + i])} << (8 * i);
  return value;
}

std::string hexadecimal(std::string_view bytes) {
  std::string text = "0x";
  for (char c : bytes) text += fmt::format("{:02x}", static_cast<std::uint8_t>(c));
  return text;
}

// 32 capabilities of one pair of words; numbers that this libcap has no room for make it fail.
bool add(cap_t set, std::uint32_t bits, std::size_t first, bool effective, cap_flag_t flag) {
  for (std::size_t i = 0; i < 32; ++i) {
    if (((bits >> i) & 1) == 0) continue;
    const auto number = static_cast<cap_value_t>(first + i);
    if (::cap_set_flag(set, flag, 1, &number, CAP_SET) != 0) return false;
    if (effective && ::cap_set_flag(set, CAP_EFFECTIVE, 1, &number, CAP_SET) != 0) return false;
  }
  return true;
}

}  // namespace

std::string capability_text(std::string_view xattr_value) {
  const std::size_t size = xattr_value.size();
  if (size < sizeof(std::uint32_t)) return hexadecimal(xattr_value);
  const std::uint32_t magic = little_endian(xattr_value, 0), revision = magic & VFS_CAP_REVISION_MASK;
  const bool effective = (magic & VFS_CAP_FLAGS_EFFECTIVE) != 0;
  std::size_t pairs = 0;
  if (revision == VFS_CAP_REVISION_1 && size == XATTR_CAPS_SZ_1) pairs = VFS_CAP_U32_1;
  if (revision == VFS_CAP_REVISION_2 && size == XATTR_CAPS_SZ_2) pairs = VFS_CAP_U32_2;
  if (revision == VFS_CAP_REVISION_3 && size == XATTR_CAPS_SZ_3) pairs = VFS_CAP_U32_3;
  if (pairs == 0) return hexadecimal(xattr_value);
  const std::unique_ptr<std::remove_pointer_t<cap_t>, Free> set(::cap_init());
  if (!set) return hexadecimal(xattr_value);
  for (std::size_t pair = 0; pair < pairs; ++pair) {
    if (!add(set.get(), little_endian(xattr_value, 4 + 8 * pair), 32 * pair, effective, CAP_PERMITTED) ||
        !add(set.get(), little_endian(xattr_value, 8 + 8 * pair), 32 * pair, effective, CAP_INHERITABLE))
      return hexadecimal(xattr_value);
  }
  const std::unique_ptr<char, Free> text(::cap_to_text(set.get(), nullptr));
  if (!text) return hexadecimal(xattr_value);
  std::string result(text.get());
  if (revision == VFS_CAP_REVISION_3)
    if (const std::uint32_t root = little_endian(xattr_value, size - 4); root != 0) result += fmt::format(" [rootid={}]", root);
  return result;
}

}  // namespace syncropy
