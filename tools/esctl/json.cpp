#include "json.h"

#include <fmt/format.h>

#include <iterator>

namespace esc::esctl {

std::string Json::quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += {'\\', c};
    } else if (byte < 0x20 || byte == 0x7f) {
      fmt::format_to(std::back_inserter(out), "\\u{:04x}", byte);
    } else {
      out.push_back(c);
    }
  }
  out.push_back('"');
  return out;
}

void Json::write(std::string& out, std::size_t indent) const {
  if (kind_ == Kind::scalar) {
    out += scalar_;
    return;
  }
  out.push_back(kind_ == Kind::array ? '[' : '{');
  for (std::size_t i = 0; i < items_.size(); ++i) {
    out += i > 0 ? ",\n" : "\n";
    out.append((indent + 1) * 2, ' ');
    if (kind_ == Kind::object) out += keys_[i] + ": ";
    items_[i].write(out, indent + 1);
  }
  if (!items_.empty()) {
    out.push_back('\n');
    out.append(indent * 2, ' ');
  }
  out.push_back(kind_ == Kind::array ? ']' : '}');
}

std::string Json::text() const {
  std::string out;
  write(out, 0);
  return out;
}

}  // namespace esc::esctl
