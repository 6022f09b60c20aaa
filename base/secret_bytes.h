#pragma once

#include <string>
#include <type_traits>
#include <utility>

#include "absl/strings/string_view.h"

namespace backup {

// Overwrites all that `text` has room for, whatever the compiler thinks of it, and empties it.
void Wipe(std::string& text);

// Bytes of a key, or of what keys are made of, while somebody needs them: wiped when they go, and
// where they were moved from. A copy is one more place that is wiped when it goes. They become text
// only by name (absl::string_view), so that nothing logs them by mistake. Thread-compatible.
class SecretBytes {
 public:
  SecretBytes() = default;
  // Takes over what was made for it, which is then nowhere else, but for less than 16 bytes, as
  // keys never are. Implicit: keys come as strings from what makes them.
  SecretBytes(std::string bytes)  // NOLINT(google-explicit-constructor)
      : bytes_(std::move(bytes)) {}
  SecretBytes(const SecretBytes&) = default;
  SecretBytes(SecretBytes&& other) noexcept : bytes_(std::move(other.bytes_)) {
    Wipe(other.bytes_);
  }
  SecretBytes& operator=(SecretBytes other) noexcept {
    bytes_.swap(other.bytes_);
    return *this;
  }
  ~SecretBytes() { Wipe(bytes_); }

  // Valid until it is changed.
  operator absl::string_view() const { return bytes_; }  // NOLINT(google-explicit-constructor)
  size_t size() const { return bytes_.size(); }
  bool empty() const { return bytes_.empty(); }

  // Not for what somebody may guess bit by bit: it takes longer the more is the same.
  template <typename Other>
  requires std::is_convertible_v<const Other&, absl::string_view>
  friend bool operator==(const SecretBytes& one, const Other& other) {
    return absl::string_view(one) == absl::string_view(other);
  }

 private:
  std::string bytes_;
};

}  // namespace backup
