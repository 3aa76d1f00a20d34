#pragma once
// Names are bytes that a client controls; before a person or a log sees one it passes through here.

#include <string>
#include <string_view>

namespace syncropy {

// `bytes` with every control character (C0, DEL, C1), backslash and byte that is not part of valid UTF-8 written as a
// backslash sequence (\n, \t, \\ or \xHH). The result is valid UTF-8 on one line, at most four times as long.
[[nodiscard]] std::string escape(std::string_view bytes);

// escape(bytes) as a JSON string, with its quotes: a reader of the JSON gets what a person gets.
[[nodiscard]] std::string json_text(std::string_view bytes);

}  // namespace syncropy
