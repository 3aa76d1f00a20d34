#pragma once
// What GnuTLS's calls have in common: codes below zero, and memory that it hands out.

#include <gnutls/gnutls.h>

#include <string>
#include <string_view>

#include "util/error.hpp"

namespace syncropy {

// For calls that fail by a defect or for lack of memory alone. `tried`: a verb phrase.
inline void check_gnutls(int code, const char* tried) {
  const bool no_memory = code == GNUTLS_E_MEMORY_ERROR;
  if (code < 0)
    throw Error(no_memory ? ExitStatus::starved : ExitStatus::internal, std::string("GnuTLS cannot ") + tried + " (" + gnutls_strerror(code) + ")",
                no_memory ? "give the machine or the unit (MemoryMax=) more memory" : "this is a defect: please report it");
}

// GnuTLS takes what it only reads as if it wrote it.
inline gnutls_datum_t datum_of(std::string_view bytes) {
  return {reinterpret_cast<unsigned char*>(const_cast<char*>(bytes.data())), static_cast<unsigned>(bytes.size())};
}

// What GnuTLS allocated, as a string; the allocation is freed.
inline std::string take_text(gnutls_datum_t& out) {
  std::string text(reinterpret_cast<const char*>(out.data), out.size);
  gnutls_free(out.data);
  out = {};
  return text;
}

}  // namespace syncropy
