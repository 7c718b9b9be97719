// A JSON value to print: objects keep the order in which their members were added.
#pragma once

#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace esc::esctl {

class Json {
 public:
  Json() = default;  // null
  Json(bool value) : scalar_(value ? "true" : "false") {}
  template <std::integral T>
    requires(!std::same_as<T, bool>)
  Json(T value) : scalar_(std::to_string(value)) {}
  Json(std::string_view value) : scalar_(quoted(value)) {}
  Json(const char* value) : scalar_(quoted(value)) {}
  Json(const std::string& value) : scalar_(quoted(value)) {}

  [[nodiscard]] static Json array() { return Json(Kind::array); }
  [[nodiscard]] static Json object() { return Json(Kind::object); }

  // For arrays.
  Json& push(Json item) {
    items_.push_back(std::move(item));
    return *this;
  }
  // For objects.
  Json& set(std::string_view key, Json item) {
    keys_.push_back(quoted(key));
    return push(std::move(item));
  }

  // Two spaces an indentation level, no trailing newline.
  [[nodiscard]] std::string text() const;

 private:
  enum class Kind : std::uint8_t { scalar, array, object };
  explicit Json(Kind kind) : kind_(kind) {}
  [[nodiscard]] static std::string quoted(std::string_view text);
  void write(std::string& out, std::size_t indent) const;

  Kind kind_ = Kind::scalar;
  std::string scalar_ = "null";    // as printed
  std::vector<std::string> keys_;  // as printed; of objects
  std::vector<Json> items_;
};

}  // namespace esc::esctl
